# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Compressed data, and no more of it than is allowed."""

import zlib

from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.values.flags import ZLIB
from p01.memcache.values.flags import ZSTD


try:
    import zstandard
except ImportError:
    zstandard = None

# A cache has to be fast: zlib's default level saves a fifth more of a page of
# HTML, and takes three times as long.
_LEVEL = 1


def compress(data: bytes, flags: int) -> tuple[bytes, int]:
    """Return the data and flags, compressed if that makes them smaller."""
    if zstandard is None:
        compressed, how = zlib.compress(data, _LEVEL), ZLIB
    else:
        # It cannot be shared by threads; making one is faster than finding
        # the one of this thread.
        compressed = zstandard.ZstdCompressor(_LEVEL).compress(data)
        how = ZSTD
    if len(compressed) < len(data):
        return compressed, flags | how
    return data, flags


def decompress(data: bytes, flags: int, largest: int) -> tuple[bytes, int]:
    """Return what was compressed, of at most `largest` bytes."""
    if flags & ZLIB:
        return _from_zlib(data, largest), flags & ~ZLIB
    return _from_zstd(data, largest), flags & ~ZSTD


def _from_zlib(data: bytes, largest: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        # One byte more shows that it is too large.
        value = stream.decompress(data, largest + 1)
    except zlib.error as error:
        raise UnreadableValue(f'zlib: {error}') from None
    if len(value) > largest:
        raise _too_large(largest)
    if not stream.eof or stream.unused_data:
        raise UnreadableValue('zlib: it does not end where it should')
    return value


def _from_zstd(data: bytes, largest: int) -> bytes:
    if zstandard is None:
        raise UnreadableValue(
            'it needs zstandard, the extra "zstd" of p01.memcache')
    try:
        # The decompressor allocates whatever size the frame declares.
        size = zstandard.frame_content_size(data)
        if size > largest:
            raise _too_large(largest)
        if size < 1:
            # Ours declare it; behind others more could follow unseen.
            raise UnreadableValue('zstd: it does not declare its size')
        return zstandard.ZstdDecompressor().decompress(
            data, max_output_size=largest, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise UnreadableValue(f'zstd: {error}') from None


def _too_large(largest: int) -> ValueTooLarge:
    return ValueTooLarge(f'decompressed, it exceeds maxValueSize {largest}')
