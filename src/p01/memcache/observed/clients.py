# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The clients of this process, their regions, and their servers."""

import contextlib

from zope.component import getUtilitiesFor

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheStatistics


def registered():
    """Return ``[(name, client)]`` of all utilities, the unnamed one first.

    A region that is a utility, too, is left to its client.
    """
    found, inner = sorted(getUtilitiesFor(IMemcacheClient)), set()
    for _, client in found:
        # One that cannot tell its regions says so where they are shown.
        with contextlib.suppress(Exception):
            inner.update(id(region) for _, region in regions(client))
    return [(name, client) for name, client in found
            if id(client) not in inner]


def regions(client, path=()):
    """Return ``[(names, region)]`` of all regions, those within one, too."""
    own = []
    for name, region in sorted(
            getattr(client, 'getRegions', list)(), key=lambda pair: pair[0]):
        own.append(((*path, name), region))
        own += regions(region, (*path, name))
    return own


def servers(client):
    """Return what a pooled client knows of its servers; else nothing."""
    if IUltraMemcacheStatistics.providedBy(client):
        return client.getServers()
    return []


def parsed(statistics, name):
    """Return the int of a statistic, or None. A server may say anything."""
    text = statistics.get(name, '')
    if len(text) <= 20 and text.isascii() and text.isdigit():
        return int(text)
    return None
