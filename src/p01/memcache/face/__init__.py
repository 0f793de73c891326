# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A look-alike of python-memcached's ``memcache.Client``, on our client."""

from p01.memcache.face.client import Client


__all__ = ['Client']
