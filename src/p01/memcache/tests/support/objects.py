# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Persistent objects without a database, security proxies, and a serializer.
"""

from persistent import Persistent
from zope.interface import implementer
from zope.security.checker import CheckerPublic
from zope.security.checker import NamesChecker
from zope.security.proxy import Proxy

from p01.memcache.interfaces import ISerializer


class Item(Persistent):

    title = 'title'


class Database:
    database_name = 'main'


class Jar:
    """The part of a database connection that an object needs."""

    def __init__(self):
        self.loaded = []

    def db(self):
        return Database

    def setstate(self, obj):
        self.loaded.append(obj)
        obj.__setstate__({'title': 'loaded'})

    def register(self, obj):
        pass

    def readCurrent(self, obj):
        pass

    def ghost(self):
        obj = Item()
        obj._p_jar = self
        obj._p_oid = b'\0' * 7 + b'\1'
        obj._p_deactivate()
        return obj


def protect(obj, *names):
    """Return any object behind a security proxy."""
    return Proxy(obj, NamesChecker(names or ['title'], CheckerPublic))


@implementer(ISerializer)
class Credulous:
    """An application's serializer that accepts everything."""

    def dumps(self, key, obj):
        return b'', 0

    def loads(self, key, data, flags):
        return None
