# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Zope's SESSION, and its caches, by Products.mcdutils on our client."""
