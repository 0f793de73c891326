# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What identifies an object of content: the default `IContentIdentity`."""

from zope.component import queryUtility
from zope.interface import implementer

from p01.memcache.content.interfaces import IContentIdentity
from p01.memcache.values.unstorable import Proxy
from p01.memcache.values.unstorable import bare


try:
    from plone.uuid.interfaces import IUUID
except ImportError:
    IUUID = None

try:
    from zope.intid.interfaces import IIntIds
except ImportError:
    IIntIds = None

try:
    from zope.location.interfaces import ILocationInfo
except ImportError:
    ILocationInfo = None


@implementer(IContentIdentity)
class Identity:
    """See `IContentIdentity`."""

    def __init__(self, context):
        self._bare = bare(context)
        # An acquisition wrapper knows where it is; a security proxy would
        # keep from its user what is only a name here.
        self._context = self._bare if type(context) is Proxy else context

    @property
    def uid(self):
        return self._uuid() or self._oid() or self._number()

    def _uuid(self):
        return None if IUUID is None else IUUID(self._context, None)

    def _oid(self):
        oid = getattr(self._bare, '_p_oid', None)
        if oid is None:
            return None
        connection = self._bare._p_jar
        database = '' if connection is None else connection.db().database_name
        return f'{database}-{oid.hex()}'

    def _number(self):
        numbers = None if IIntIds is None else queryUtility(IIntIds)
        if numbers is None:
            return None
        number = numbers.queryId(self._bare)
        return None if number is None else str(number)

    @property
    def path(self):
        if hasattr(self._bare, 'getPhysicalPath'):
            path = '/'.join(self._context.getPhysicalPath())
            # Without its containers it would be relative, and the root's ''.
            return path if path.startswith('/') else None if path else '/'
        info = None if ILocationInfo is None else ILocationInfo(
            self._bare, None)
        try:
            return None if info is None else info.getPath()
        except TypeError:  # it is not within a root
            return None

    @property
    def type(self):
        name, kind = getattr(self._bare, 'portal_type', None), type(self._bare)
        # Anything may be an attribute of an object of an application.
        if name and isinstance(name, str):
            return name
        return f'{kind.__module__}.{kind.__qualname__}'


def identify(obj):
    """Return the `IContentIdentity` of an object."""
    identity = IContentIdentity(obj, None)
    return Identity(obj) if identity is None else identity
