# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that are compressed where that saves, and never larger than allowed.
"""

import zlib

from zope.interface import implementer

from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import ValueTooLarge
from p01.memcache.interfaces import ISerializer
from p01.memcache.values.flags import ZLIB
from p01.memcache.values.flags import ZSTD


try:
    import zstandard
except ImportError:
    zstandard = None

# A cache has to be fast: the default level of zlib saves a fifth more of a
# page of HTML, and takes three times as long.
_LEVEL = 1


@implementer(ISerializer)
class CompressedSerializer:
    """Compresses what another serializer makes. See `ISerializer`.

    From `threshold` bytes on, never if that is None; `most` is the largest
    number of bytes that are not compressed.
    """

    def __init__(self, serializer, threshold, most):
        self._serializer = serializer
        self._threshold = threshold
        self._most = most

    def dumps(self, key, obj):
        data, flags = self._serializer.dumps(key, obj)
        check_size(len(data), self._most)
        if self._threshold is not None and len(data) >= self._threshold:
            compressed, how = _compress(data)
            if len(compressed) < len(data):
                return compressed, flags | how
        return data, flags

    def loads(self, key, data, flags):
        if flags & ZLIB:
            data, flags = _from_zlib(data, self._most), flags & ~ZLIB
        elif flags & ZSTD:
            data, flags = _from_zstd(data, self._most), flags & ~ZSTD
        else:
            check_size(len(data), self._most)
        return self._serializer.loads(key, data, flags)


def check_size(size, most):
    if size > most:
        raise ValueTooLarge(f'{size} bytes are more than maxValueSize {most}')


def _compress(data):
    if zstandard is None:
        return zlib.compress(data, _LEVEL), ZLIB
    # It is not for several threads, and made faster than looked up.
    return zstandard.ZstdCompressor(_LEVEL).compress(data), ZSTD


def _from_zlib(data, most):
    stream = zlib.decompressobj()
    try:
        # One byte more shows that it is too large.
        value = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise UnreadableValue(f'zlib: {error}') from None
    if len(value) > most:
        raise ValueTooLarge(f'decompressed, it exceeds maxValueSize {most}')
    if not stream.eof or stream.unused_data:
        raise UnreadableValue('zlib: it does not end where it should')
    return value


def _from_zstd(data, most):
    if zstandard is None:
        raise UnreadableValue(
            'it needs zstandard, the extra "zstd" of p01.memcache')
    try:
        # The decompressor allocates whatever size is told there.
        size = zstandard.frame_content_size(data)
        if size > most:
            raise ValueTooLarge(
                f'decompressed, it exceeds maxValueSize {most}')
        if size < 1:
            # What we compress does; of others, more could follow unseen.
            raise UnreadableValue('zstd: it does not tell its size')
        value = zstandard.ZstdDecompressor().decompress(
            data, max_output_size=most, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise UnreadableValue(f'zstd: {error}') from None
    return value
