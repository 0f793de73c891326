# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The events of content, and the names that each of them changes."""

from p01.memcache.content.identity import identify
from p01.memcache.content.names import name
from p01.memcache.event import clientsOf


try:
    from zope.container.interfaces import IContainerModifiedEvent
except ImportError:
    IContainerModifiedEvent = None


def changedNames(obj, event):
    """Return a list of the names that an object's event changes.

    `obj` is the event's object or, if that has moved, one that is within it.
    A value that depends on any of these is out of date; so is a page in a
    proxy that has one of them.
    """
    identity = identify(obj)
    has_moved = hasattr(event, 'oldParent')
    paths = _paths(identity, event) if has_moved else [identity.path]
    changed = [('uid', identity.uid), ('type', identity.type)]
    for path in paths:
        changed.append(('path', path))
        # What is within it has moved, or its order has changed.
        if has_moved or _changes_listing(event):
            changed.append(('listing', path))
        if obj is event.object and path not in (None, '/'):
            changed.append(('listing', path.rpartition('/')[0] or '/'))
    return list(dict.fromkeys(
        name(kind, text) for kind, text in changed if text is not None))


def _changes_listing(event):
    return (IContainerModifiedEvent is not None
            and IContainerModifiedEvent.providedBy(event))


def _paths(identity, event):
    """Return the paths of an object that has moved: now, before and after."""
    now, top = identity.path, identify(event.object).path
    if now is None or top is None:
        below = ''
    else:
        below = now[len(top):] if now.startswith(top) else ''
    paths = [now]
    for parent, own in ((event.oldParent, event.oldName),
                        (event.newParent, event.newName)):
        place = None if parent is None else identify(parent).path
        if place is not None:
            paths.append(f'{place.rstrip("/")}/{own}{below}')
    return dict.fromkeys(paths)


class Invalidation:
    """A handler of object events: invalidates what they change."""

    def __init__(self, cacheName):
        self._cacheName = cacheName

    def __call__(self, obj, event):
        names = changedNames(obj, event)
        for client in clientsOf(self._cacheName):
            client.invalidateDependencies(*names)
