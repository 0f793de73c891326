# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The flags of a stored value: how its bytes are to be read."""

# A pickle, or raw bytes. Every release of this package writes it. Flags that
# are not in this file belong to other clients, or to the serializer of an
# application.
PLAIN = 0

# The others are bits that no client for Python uses.

# A stamp is in front, see `p01.memcache.values.stamp`.
STAMPED = 1 << 6
# A claim instead of a value, see `p01.memcache.leases.lease`.
CLAIM = 1 << 7
# A signature is in front.
SIGNED = 1 << 8
# Compressed, by zlib or by zstandard.
ZLIB = 1 << 9
ZSTD = 1 << 10
COMPRESSED = ZLIB | ZSTD
# JSON.
JSON = 1 << 11

# What is left to the serializers of applications.
FREE = 0xffff & ~(STAMPED | CLAIM | SIGNED | COMPRESSED | JSON)
