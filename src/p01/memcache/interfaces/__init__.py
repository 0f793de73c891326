# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of the package: every interface, method and attribute.

`IMemcacheClient` is what an application looks up. Import every name from
here; the modules are only its chapters.
"""

from p01.memcache.configuration.field import Drained
from p01.memcache.configuration.field import File
from p01.memcache.configuration.field import Lifetime
from p01.memcache.configuration.field import Namespace
from p01.memcache.configuration.field import Seconds
from p01.memcache.configuration.field import Servers
from p01.memcache.configuration.field import Unshown
from p01.memcache.configuration.pooled import IUltraMemcacheSettings
from p01.memcache.configuration.serializer import IPersistentSerializer
from p01.memcache.configuration.serializer import ISerializer
from p01.memcache.configuration.serializer import SerializerName
from p01.memcache.configuration.settings import IMemcacheSettings
from p01.memcache.interfaces.client import IMemcacheClient
from p01.memcache.interfaces.client import IMemcacheFlusher
from p01.memcache.interfaces.client import IMemcacheStatistics
from p01.memcache.interfaces.event import IInvalidateCacheEvent
from p01.memcache.interfaces.event import INotHeldEvent
from p01.memcache.interfaces.event import IServerDownEvent
from p01.memcache.interfaces.event import IServerEvent
from p01.memcache.interfaces.event import IServersChangedEvent
from p01.memcache.interfaces.event import IServerUpEvent
from p01.memcache.interfaces.event import IUnreadableValueEvent
from p01.memcache.interfaces.lookup import ILookUp
from p01.memcache.interfaces.pooled import IUltraMemcacheClient
from p01.memcache.interfaces.pooled import IUltraMemcacheReader
from p01.memcache.interfaces.pooled import IUltraMemcacheStatistics
from p01.memcache.interfaces.reading import ICacheKey
from p01.memcache.interfaces.reading import IMemcacheReader
from p01.memcache.interfaces.transactional import ITransactional
from p01.memcache.interfaces.writing import IMemcacheWriter


__all__ = [
    'Drained',
    'File',
    'ICacheKey',
    'IInvalidateCacheEvent',
    'ILookUp',
    'IMemcacheClient',
    'IMemcacheFlusher',
    'IMemcacheReader',
    'IMemcacheSettings',
    'IMemcacheStatistics',
    'IMemcacheWriter',
    'IPersistentSerializer',
    'INotHeldEvent',
    'ISerializer',
    'IServerDownEvent',
    'IServerEvent',
    'IServersChangedEvent',
    'IServerUpEvent',
    'ITransactional',
    'IUltraMemcacheClient',
    'IUltraMemcacheReader',
    'IUltraMemcacheSettings',
    'IUltraMemcacheStatistics',
    'IUnreadableValueEvent',
    'Lifetime',
    'Namespace',
    'Seconds',
    'SerializerName',
    'Servers',
    'Unshown',
]
