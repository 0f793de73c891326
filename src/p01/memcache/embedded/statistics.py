# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The statistics of the embedded server: what `stats` reports, by topic."""

import os
import struct
import time

from p01.memcache.embedded import clock
from p01.memcache.embedded.replies import VERSION
from p01.memcache.embedded.storage import item_size


#: The bytes of memory that memcached has by default. Clients compute with
#: the number, but nothing is evicted here.
LIMIT_MAXBYTES = 64 * 1024 * 1024

#: The counters of `stats`, in memcached's order.
COUNTERS = (
    'cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses delete_misses '
    'delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses '
    'cas_hits cas_badval touch_hits touch_misses store_too_large bytes_read '
    'bytes_written').split()


def general(storage):
    storage.sweep()
    counters = storage.counters
    return {
        'pid': os.getpid(),
        'uptime': int(clock.now() - storage.started),
        'time': int(time.time()),
        'version': VERSION,
        'pointer_size': 8 * struct.calcsize('P'),
        'curr_connections': len(storage.connections),
        'total_connections': counters['total_connections'],
        **{name: counters[name] for name in COUNTERS},
        'limit_maxbytes': LIMIT_MAXBYTES,
        'threads': 1,
        'bytes': sum(item_size(key, item.flags, len(item.value))
                     for key, item in storage.items.items()),
        'curr_items': len(storage.items),
        'total_items': counters['total_items'],
        'evictions': 0,
    }


def settings(storage):
    return {'maxbytes': LIMIT_MAXBYTES, 'evictions': 'off',
            'item_size_max': storage.max_item_size}


def sizes(storage):
    return {'sizes_status': 'disabled'}


def nothing(storage):
    return {}


#: The second word of the request, and what it asks for.
TOPICS = {
    b'': general,
    b'settings': settings,
    b'sizes': sizes,
    b'items': nothing,
    b'slabs': nothing,
    b'conns': nothing,
}
