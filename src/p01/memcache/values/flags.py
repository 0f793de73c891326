# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The flags of a value: what was made of the object that it stands for."""

# A pickle, or raw bytes. All releases of this package wrote it; flags that
# are not in this file are other clients', or an application's serializer's.
PLAIN = 0

# The rest are bits that no client for Python uses.

# Behind a stamp, see `p01.memcache.values.stamp`.
STAMPED = 1 << 6
# No value but a claim, see `p01.memcache.features.lease`.
CLAIM = 1 << 7
# Behind a signature.
SIGNED = 1 << 8
# Compressed, by zlib or by zstandard.
ZLIB = 1 << 9
ZSTD = 1 << 10
# JSON.
JSON = 1 << 11

# What is left to applications' serializers.
FREE = 0xffff & ~(STAMPED | CLAIM | SIGNED | ZLIB | ZSTD | JSON)
