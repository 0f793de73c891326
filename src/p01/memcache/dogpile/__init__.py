# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A backend of dogpile.cache on our client: its name is ``p01.memcache``."""

from p01.memcache.extra import extra


with extra('dogpile'):
    from p01.memcache.dogpile.backend import Backend


__all__ = ['Backend']
