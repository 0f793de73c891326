# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directive that registers a container of sessions."""

from zope import schema
from zope.component.zcml import utility
from zope.configuration.fields import Bool
from zope.interface import Interface
from zope.session.interfaces import ISessionDataContainer

from p01.memcache.session.container import MemcacheSessionDataContainer
from p01.memcache.session.interfaces import IMemcacheSessionDataContainer


def _field(kind, name):
    field = IMemcacheSessionDataContainer[name]
    return kind(title=field.title, description=field.description,
                required=False)


class ISessionsDirective(Interface):
    """Register a container of sessions in memcached.

    Without an attribute it has the default of
    `IMemcacheSessionDataContainer`.
    """

    package = schema.TextLine(
        title='Package',
        description=(
            'The id of the package whose sessions are in this container; the '
            'default is every package that has none of its own.'),
        required=False)

    timeout = _field(schema.Int, 'timeout')
    resolution = _field(schema.Int, 'resolution')
    name = _field(schema.TextLine, 'name')
    cacheName = _field(schema.TextLine, 'cacheName')
    lastOneWins = _field(Bool, 'lastOneWins')


def sessions(_context, package='', **settings):
    """See `ISessionsDirective`."""
    utility(_context, ISessionDataContainer,
            factory=lambda: MemcacheSessionDataContainer(**settings),
            name=package)
