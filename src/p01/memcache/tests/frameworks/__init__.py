# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Tests with Zope, ZODB, Plone and others: bin/test-zope."""
