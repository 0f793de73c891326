# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The names of content, which are what cached values depend on.

They contain no blanks, and are ASCII: so a site can send the same names to a
proxy in front of it, in a header of a page, and to purge that page.
"""

from urllib.parse import quote

from p01.memcache.content.identity import identify


def name(kind, text):
    return f'{kind}:' + quote(
        str(text), safe='/:@+~', errors='surrogatepass')


def _found(obj, what):
    text = getattr(identify(obj), what)
    if text is None:
        raise ValueError(f'{obj!r}: has no {what}')
    return text


def uidName(obj):
    """Return the name of an object, wherever it is."""
    return name('uid', _found(obj, 'uid'))


def pathName(obj):
    """Return the name of what is at the path of an object."""
    return name('path', _found(obj, 'path'))


def listingName(container):
    """Return the name of a container's listing.

    It changes if an object is added, removed, renamed or moved there, if one
    of its objects is modified or published, and if their order changes.
    """
    return name('listing', _found(container, 'path'))


def typeName(obj):
    """Return the name of all objects of a type: of an object's, or a str."""
    return name('type', obj if isinstance(obj, str) else _found(obj, 'type'))


def dependenciesOf(*objects):
    """Return the names of objects that a value shows, as a tuple.

    These are the UID and the path of each. An object that has neither is a
    ``ValueError``.
    """
    names = []
    for obj in objects:
        identity = identify(obj)
        if identity.uid is None and identity.path is None:
            raise ValueError(f'{obj!r}: has no uid, and no path')
        names += [name(kind, getattr(identity, kind))
                  for kind in ('uid', 'path')
                  if getattr(identity, kind) is not None]
    return tuple(dict.fromkeys(names))
