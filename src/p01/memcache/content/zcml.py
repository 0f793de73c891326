# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The directive that has events of content invalidate dependencies."""

import zope.component
from zope.component.zcml import subscriber
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import Tokens
from zope.configuration.name import resolve
from zope.configuration.xmlconfig import include
from zope.interface import Interface
from zope.schema import TextLine

from p01.memcache.content.events import Invalidation


# By name: none of these packages is required.
EVENTS = (
    'zope.lifecycleevent.interfaces.IObjectModifiedEvent',
    # Also added and removed.
    'zope.lifecycleevent.interfaces.IObjectMovedEvent',
    # Published, retracted: by an action, or by a script or automatically.
    'Products.CMFCore.interfaces.IActionSucceededEvent',
    'Products.DCWorkflow.interfaces.IAfterTransitionEvent',
)


class IDependenciesDirective(Interface):
    """Invalidate what depends on an object when an event says it changes."""

    for_ = GlobalObject(
        title='For',
        description=(
            'The interface or class of the objects; * is every object.'))

    events = Tokens(
        title='Events',
        description=(
            'Interfaces of further events, separated by blanks, such as the '
            "application's own for publishing. Each must extend "
            'zope.interface.interfaces.IObjectEvent. Always included, where '
            'their packages are installed, are modified, added, moved and '
            'removed (zope.lifecycleevent), and the transitions of '
            'Products.CMFCore and Products.DCWorkflow.'),
        value_type=GlobalInterface(),
        required=False)

    cacheName = TextLine(
        title='Name of the cache',
        description=(
            'The name of the utility in which to invalidate; the default is '
            'all registered IMemcacheClient utilities.'),
        required=False)


def _known():
    for name in EVENTS:
        try:
            yield resolve(name)
        except ImportError:
            continue


def dependencies(_context, for_, events=(), cacheName=None):
    """See `IDependenciesDirective`."""
    events = list(dict.fromkeys([*_known(), *events]))
    if not events:
        raise ConfigurationError(
            'events: none is named; the extra "content" installs those of'
            ' zope.lifecycleevent')
    # It dispatches an object's event to the handlers for that object.
    include(_context, 'configure.zcml', zope.component)
    for event in events:
        subscriber(_context, for_=(for_, event),
                   handler=Invalidation(cacheName))
