# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A memcached server inside the process, for demo, development and tests.

It speaks memcached's text protocol over a real socket and answers as
memcached 1.6.45 does, to the byte, also where that is odd: one scenario in
`tests/test_embedded.py` runs on both. It shares no code with the client side,
so neither can hide a mistake of the other.

What it is not: a get may have a megabyte of keys and no more, whereas
memcached keeps whatever comes; there is no bound on memory and no LRU
eviction, no binary protocol, no TLS, no SASL, no UDP, no IPv6, no `me` among
the meta commands, and `stats` knows the common names only. Lifetimes end to
the moment, and what `flush_all` or time took away is not counted any more,
whereas memcached's clock ticks once a second, and its counts include what is
gone until it comes across it.
"""

import asyncio
import collections
import itertools
import math
import os
import re
import socket
import struct
import threading
import time
from time import monotonic

from p01.memcache.embedded import meta as embedded_meta
from p01.memcache.embedded import syntax as embedded_request
from p01.memcache.embedded.meta import EX
from p01.memcache.embedded.meta import HD
from p01.memcache.embedded.meta import NF
from p01.memcache.embedded.meta import NS
from p01.memcache.embedded.syntax import BAD_FORMAT
from p01.memcache.embedded.syntax import KEY_LENGTH
from p01.memcache.embedded.syntax import MOST_WORDS
from p01.memcache.embedded.syntax import Malformed
from p01.memcache.embedded.syntax import Refused
from p01.memcache.embedded.syntax import check_flags
from p01.memcache.embedded.syntax import check_key
from p01.memcache.embedded.syntax import check_opaque
from p01.memcache.embedded.syntax import data_length
from p01.memcache.embedded.syntax import integer
from p01.memcache.embedded.syntax import read_meta
from p01.memcache.embedded.syntax import unsigned


#: The release whose behaviour this is.
VERSION = '1.6.45'

THIRTY_DAYS = 60 * 60 * 24 * 30
#: What `stats` tells; clients compute with it, but nothing is evicted here.
LIMIT_MAXBYTES = 64 * 1024 * 1024
#: What memcached's bookkeeping adds to an item counts for the size limit.
ITEM_OVERHEAD = 48 + 8 + len('\0') + len('\r\n')

#: Seconds between two looks for expired items that nobody asks for.
SWEEP_INTERVAL = 60
#: Bytes of replies that are collected before they are written.
BATCH = 64 * 1024

#: A line may fill memcached's read buffer; one that arrives in pieces may
#: not even get near it. A get of many keys is free to do both, up to here.
READ_BUFFER = 16 * 1024
PARTIAL_LINE = 2048
LONGEST_GET = 1024 * 1024
LONG_GET = re.compile(rb' {0,100}gets? ')

#: The least that a line has, its end included.
SHORTEST_LINE = 4

#: The counters of `stats`, in memcached's order.
COUNTERS = (
    'cmd_get cmd_set cmd_flush cmd_touch get_hits get_misses delete_misses '
    'delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses '
    'cas_hits cas_badval touch_hits touch_misses store_too_large bytes_read '
    'bytes_written').split()

END = b'END\r\n'
ERROR = b'ERROR\r\n'
NOT_FOUND = b'NOT_FOUND\r\n'
STORED = {HD: b'STORED\r\n', NS: b'NOT_STORED\r\n', EX: b'EXISTS\r\n',
          NF: NOT_FOUND}
OK = b'OK\r\n'
BAD_EXPTIME = b'CLIENT_ERROR invalid exptime argument\r\n'


def deadline(exptime):
    """The monotonic time at which a lifetime ends.

    The wall clock is asked here and never again, so that it may jump.
    """
    if exptime == 0:
        return math.inf
    if exptime > THIRTY_DAYS:
        exptime -= time.time()
    return monotonic() + exptime


def seconds_left(expires):
    """A remaining lifetime as memcached tells it: whole, and -1 for ever."""
    if expires == math.inf:
        return -1
    # What has just begun is whole, though no float is exact.
    return max(math.ceil(round(expires - monotonic(), 3)), 0)


def read_times(flags):
    """The flags of a meta command, with times that are the storage's."""
    times = {letter: deadline(flags[letter])
             for letter in 'NTR' if letter in flags}
    if 'R' in times:
        times['R'] = seconds_left(times['R'])
    return flags | times


def item_size(key, flags, length):
    """The bytes which an item takes in memcached, by its own arithmetic."""
    return ITEM_OVERHEAD + len(key) + length + (4 if flags else 0)


class Item:

    __slots__ = ('value', 'flags', 'expires', 'cas', 'used', 'fetched',
                 'stale', 'token', 'binary')

    def __init__(self, value, flags, expires):
        self.value = value
        self.flags = flags
        self.expires = expires
        self.used = monotonic()
        # What only the meta commands show.
        self.fetched = False
        self.stale = False
        self.token = b''
        self.binary = False

    def use(self):
        self.used = monotonic()
        self.fetched = True

    def seconds_idle(self):
        return int(monotonic() - self.used)

    def seconds_left(self):
        return seconds_left(self.expires)


class Storage:
    """The items, and all else that the connections of one run share."""

    def __init__(self, max_item_size):
        self.max_item_size = max_item_size
        self.items = {}
        self.connections = set()
        self.counters = collections.Counter()
        self.started = monotonic()
        self.flush_at = math.inf
        self.last_unique = 1

    def find(self, key):
        """The living item of a key, or None: every access begins here."""
        now = monotonic()
        if self.flush_at <= now:
            self.flush()
        item = self.items.get(key)
        if item is not None and item.expires <= now:
            del self.items[key]
            item = None
        return item

    def put(self, key, value, flags, expires, unique=None):
        item = self.items[key] = Item(value, flags, expires)
        self.counters['total_items'] += 1
        self.renew(item, unique)
        return item

    def renew(self, item, unique=None):
        """Let no `cas` take an item for what it was before."""
        item.cas = self.next_unique() if unique is None else unique

    def next_unique(self):
        self.last_unique += 1
        return self.last_unique

    def store(self, mode, key, value, flags, expires, unique, cas=0,
              invalidate=False, vivify=None):
        """Store a value if the mode lets it; the code tells what happened.

        To invalidate means to accept a value that comes late, but as stale.
        With a lifetime to vivify there need not be a value to append to.
        """
        old = self.find(key)
        late = False
        if mode == 'cas':
            late = invalidate and old is not None and 0 < cas < old.cas
            if old is not None and old.cas != cas and not late:
                self.counters['cas_badval'] += 1
                return EX
            self.count('cas', old)
            if old is None:
                return NF
        elif mode in ('append', 'prepend') and vivify is not None:
            expires = vivify
        elif mode != 'set' and (mode == 'add') != (old is None):
            return NS
        if mode in ('append', 'prepend') and old is not None:
            if cas and old.cas != cas:
                return EX
            flags, expires = old.flags, old.expires
            value = (old.value + value if mode == 'append'
                     else value + old.value)
            if not self.fits(key, flags, len(value)):
                return NS
        item = self.put(key, value, flags, expires, unique)
        if late:
            item.expires, item.token = old.expires, old.token
            item.stale = True
        return HD

    def calculate(self, command, key, item, delta):
        """The item that has the sum or the difference."""
        value = embedded_request.stored_number(item.value)
        self.count(command, item)
        value = ((value + delta) % 2**64 if command == 'incr'
                 else max(value - delta, 0))
        digits = b'%d' % value
        if len(digits) > len(item.value):
            return self.put(key, digits, item.flags, item.expires)
        # memcached writes the digits over the old ones.
        item.value = digits.ljust(len(item.value))
        self.renew(item)
        return item

    def fits(self, key, flags, length):
        return item_size(key, flags, length) <= self.max_item_size

    def count_fetch(self, command, found):
        self.counters[f'cmd_{command}'] += 1
        self.count(command, found)

    def count(self, command, found):
        self.counters[f'{command}_{"hits" if found else "misses"}'] += 1

    def flush(self):
        self.items.clear()
        self.flush_at = math.inf

    def sweep(self):
        for key in list(self.items):
            self.find(key)

    def statistics(self):
        self.sweep()
        return {
            'pid': os.getpid(),
            'uptime': int(monotonic() - self.started),
            'time': int(time.time()),
            'version': VERSION,
            'pointer_size': 8 * struct.calcsize('P'),
            'curr_connections': len(self.connections),
            'total_connections': self.counters['total_connections'],
            **{name: self.counters[name] for name in COUNTERS},
            'limit_maxbytes': LIMIT_MAXBYTES,
            'threads': 1,
            'bytes': sum(item_size(key, item.flags, len(item.value))
                         for key, item in self.items.items()),
            'curr_items': len(self.items),
            'total_items': self.counters['total_items'],
            'evictions': 0,
        }


class Connection(asyncio.Protocol):
    """One client: a dialogue over a buffer.

    The dialogue is a generator. It yields the pieces of its replies, and None
    where it can go on with more input only. So a command is written down from
    its line to its reply, and rests wherever the client is slow: to send, or
    to read what it asked for.
    """

    #: What `ms` has put aside; if its value is bad, for the next one.
    unique = None

    def __init__(self, storage):
        self.storage = storage
        self.buffer = bytearray()
        self.dialogue = self.converse()
        self.paused = False
        self.call_soon = asyncio.get_running_loop().call_soon

    def connection_made(self, transport):
        self.transport = transport
        self.storage.connections.add(self)
        self.storage.counters['total_connections'] += 1

    def connection_lost(self, exc):
        self.storage.connections.discard(self)

    def data_received(self, data):
        self.storage.counters['bytes_read'] += len(data)
        self.buffer += data
        self.answer()

    def pause_writing(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_writing(self):
        self.paused = False
        self.transport.resume_reading()
        self.answer()

    def answer(self):
        """Reply until input is missing or the client lags behind."""
        if self.paused or self.transport.is_closing():
            return
        batch = bytearray()
        for piece in self.dialogue:
            if piece is None:
                break
            batch += piece
            if len(batch) >= BATCH:
                # It is the turn of others.
                self.call_soon(self.answer)
                break
        else:
            # Not before the batch, nor while it calls resume_writing().
            self.call_soon(self.transport.close)
        self.write(batch)

    def write(self, data):
        if data:
            self.storage.counters['bytes_written'] += len(data)
            self.transport.write(data)

    def converse(self):
        while (line := (yield from self.read_line())) is not None:
            if len(line) < SHORTEST_LINE:
                yield BAD_FORMAT
                continue
            text = line.removesuffix(b'\n').removesuffix(b'\r')
            words = list(filter(None, text.split(b' '))) or [b'']
            command, *args = words
            # Only some commands may have spaces before them.
            if text.startswith(b' ') and command not in LATE_COMMANDS:
                command = b''
            if command == b'quit':
                return
            if command not in COMMANDS and args and args[-1].startswith(
                    b'HTTP/'):
                # A browser that went astray.
                return
            handler, fewest = COMMANDS.get(command, UNKNOWN)
            if len(args) < fewest:
                yield BAD_FORMAT
                continue
            silent = (command not in ALWAYS_ANSWERED
                      and words[:MOST_WORDS][-1] == b'noreply')
            try:
                for piece in handler(self, command.decode('latin-1'), *args):
                    if piece is None or not silent:
                        yield piece
            except Malformed:
                yield BAD_FORMAT
            except Refused as refusal:
                if not silent:
                    yield refusal.args[0]

    def read_line(self):
        """A line with its end, or None where it is too long."""
        searched = 0
        while True:
            end = self.buffer.find(b'\n', searched)
            searched = len(self.buffer)
            length, most = ((searched, PARTIAL_LINE) if end < 0
                            else (end, READ_BUFFER))
            if LONG_GET.match(self.buffer):
                most = LONGEST_GET
            if length > most:
                return None
            if end >= 0:
                break
            yield None
        return self.take(end + 1)

    def read_block(self, length):
        while len(self.buffer) < length:
            yield None
        return self.take(length)

    def skip_block(self, length):
        while (length := length - len(self.take(length))):
            yield None

    def take(self, length):
        data = bytes(self.buffer[:length])
        del self.buffer[:length]
        return data

    # The commands: generators of replies, called with the words of a line.

    def unknown(self, command, *args):
        yield ERROR

    def retrieve(self, command, *keys):
        storage = self.storage
        touch = command.startswith('gat')
        unique = command.endswith('s')
        if touch:
            expires = deadline(integer(keys[0], BAD_EXPTIME))
            keys = keys[1:]
        # No value may be on its way when a key turns out to be too long, but
        # the items before it are used, and touched.
        good = list(itertools.takewhile(
            lambda key: len(key) <= KEY_LENGTH, keys))
        refused = len(good) < len(keys)
        for key in good:
            item = storage.find(key)
            storage.count_fetch('touch' if touch else 'get', item)
            if item is None:
                continue
            item.use()
            if touch:
                item.expires = expires
            if refused:
                continue
            yield b'VALUE %b %d %d%b\r\n%b\r\n' % (
                key, item.flags, len(item.value),
                b' %d' % item.cas if unique else b'', item.value)
        if refused:
            # It comes with two line ends.
            raise Refused(BAD_FORMAT + b'\r\n')
        yield END

    def store(self, command, key, flags, exptime, length, *more):
        length = data_length(length)
        try:
            check_key(key)
            flags = embedded_request.stored_flags(flags)
            expires = deadline(embedded_request.stored_lifetime(exptime))
            cas = unsigned(more[0] if more else b'') if command == 'cas' else 0
            self.admit(key, flags, length, command == 'set')
        except Refused:
            yield from self.skip_block(length + len('\r\n'))
            raise
        value = yield from self.read_value(length)
        code = self.storage.store(command, key, value, flags, expires,
                                  self.take_unique(), cas)
        yield STORED[code]

    def take_unique(self):
        """The number for a value that has come."""
        unique = self.unique or self.storage.next_unique()
        self.unique = None
        return unique

    def admit(self, key, flags, length, replaces):
        """Refuse a value that is too large."""
        storage = self.storage
        if not storage.fits(key, flags, length):
            storage.counters['store_too_large'] += 1
            # Whoever sets a value does not want to see the old one again.
            if replaces:
                storage.items.pop(key, None)
            raise Refused(b'SERVER_ERROR object too large for cache\r\n')
        storage.counters['cmd_set'] += 1

    def read_value(self, length):
        value = yield from self.read_block(length + len('\r\n'))
        if not value.endswith(b'\r\n'):
            raise Refused(b'CLIENT_ERROR bad data chunk\r\n')
        return value[:-len('\r\n')]

    def delete(self, command, key, *more):
        check_key(key)
        item = self.storage.find(key)
        self.storage.count(command, item)
        if item is None:
            raise Refused(NOT_FOUND)
        del self.storage.items[key]
        yield b'DELETED\r\n'

    def touch(self, command, key, exptime, *more):
        check_key(key)
        expires = deadline(integer(exptime, BAD_EXPTIME))
        item = self.storage.find(key)
        self.storage.count_fetch(command, item)
        if item is None:
            raise Refused(NOT_FOUND)
        item.use()
        item.expires = expires
        yield b'TOUCHED\r\n'

    def calculate(self, command, key, delta, *more):
        storage = self.storage
        check_key(key)
        delta = unsigned(
            delta, b'CLIENT_ERROR invalid numeric delta argument\r\n')
        item = storage.find(key)
        if item is None:
            storage.count(command, None)
            raise Refused(NOT_FOUND)
        item = storage.calculate(command, key, item, delta)
        yield item.value.rstrip() + b'\r\n'

    def meta_noop(self, command, *args):
        yield b'MN\r\n'

    def meta(self, command, key, *words):
        check_flags(words)
        key, flags = read_meta(command, key, words, 2 + len(words))
        yield embedded_meta.COMMANDS[command](
            self.storage, key, read_times(flags))

    def meta_store(self, command, key, length, *words):
        check_flags(words)
        length = data_length(length)
        try:
            key, flags = read_meta(command, key, words, 3 + len(words))
            self.admit(key, flags.get('F', 0), length, True)
            self.unique = flags.get('E') or self.storage.next_unique()
            check_opaque(flags)
        except Refused:
            yield from self.skip_block(length + len('\r\n'))
            raise
        value = yield from self.read_value(length)
        yield embedded_meta.store(
            self.storage, key, read_times(flags), value, self.take_unique())

    def flush_all(self, command, *args):
        storage = self.storage
        storage.counters['cmd_flush'] += 1
        delay = 0
        if args and args != (b'noreply',):
            delay = integer(args[0], BAD_EXPTIME)
        # memcached counts from the second before: 1 is at once as well.
        if delay > 1:
            storage.flush_at = deadline(delay) - 1
        else:
            storage.flush()
        yield OK

    def verbosity(self, command, level, *more):
        unsigned(level, bits=32)
        yield OK

    def version(self, command, *args):
        yield b'VERSION %b\r\n' % VERSION.encode()

    def stats(self, command, topic=b'', *more):
        if topic == b'reset':
            self.storage.counters.clear()
            yield b'RESET\r\n'
            return
        if topic == b'':
            lines = self.storage.statistics()
        elif topic == b'settings':
            lines = {'maxbytes': LIMIT_MAXBYTES, 'evictions': 'off',
                     'item_size_max': self.storage.max_item_size}
        elif topic == b'sizes':
            lines = {'sizes_status': 'disabled'}
        elif topic in (b'items', b'slabs', b'conns'):
            lines = {}
        else:
            raise Refused(ERROR)
        for name, value in lines.items():
            yield f'STAT {name} {value}\r\n'.encode()
        yield END


#: The handler, and how few arguments it takes.
UNKNOWN = (Connection.unknown, 0)
COMMANDS = {
    b'get': (Connection.retrieve, 1),
    b'gets': (Connection.retrieve, 1),
    b'gat': (Connection.retrieve, 2),
    b'gats': (Connection.retrieve, 2),
    b'set': (Connection.store, 4),
    b'add': (Connection.store, 4),
    b'replace': (Connection.store, 4),
    b'append': (Connection.store, 4),
    b'prepend': (Connection.store, 4),
    b'cas': (Connection.store, 4),
    b'delete': (Connection.delete, 1),
    b'touch': (Connection.touch, 2),
    b'incr': (Connection.calculate, 2),
    b'decr': (Connection.calculate, 2),
    b'mn': (Connection.meta_noop, 0),
    b'mg': (Connection.meta, 1),
    b'ms': (Connection.meta_store, 2),
    b'md': (Connection.meta, 1),
    b'ma': (Connection.meta, 1),
    b'flush_all': (Connection.flush_all, 0),
    b'verbosity': (Connection.verbosity, 1),
    b'version': (Connection.version, 0),
    b'stats': (Connection.stats, 0),
}
#: Those that memcached looks for when the line is no request for its parser.
LATE_COMMANDS = {b'flush_all', b'verbosity'}
#: Those that do not know `noreply`.
ALWAYS_ANSWERED = {b'get', b'gets', b'gat', b'gats', b'mn', b'mg', b'ms',
                   b'md', b'ma', b'version', b'stats'}


class EmbeddedServer:
    """A server in a thread of its own: `with EmbeddedServer() as server: ...`

    Port 0 takes a free port; it is known, and kept, from the first start on.
    Each start begins with an empty storage, as a restarted memcached does.
    """

    def __init__(self, host='127.0.0.1', port=0, maxItemSize=1024 * 1024):
        self.host = host
        self.port = port
        self.maxItemSize = maxItemSize
        self._thread = None

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    def start(self):
        """Accept connections; an OSError tells that the port is in use."""
        listener = socket.create_server((self.host, self.port))
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), daemon=True,
            name=f'{type(self).__name__} {self.address}')
        self._thread.start()

    def stop(self):
        """Close every socket and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set_result, None)
            thread.join()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def _run(self, listener):
        try:
            self._loop.run_until_complete(self._serve(listener))
        finally:
            self._loop.close()

    async def _serve(self, listener):
        storage = Storage(self.maxItemSize)
        server = await self._loop.create_server(
            lambda: Connection(storage), sock=listener)
        while not self._stopping.done():
            await asyncio.wait([self._stopping], timeout=SWEEP_INTERVAL)
            storage.sweep()
        # A connection that is being accepted is a task. It would be forgotten
        # if the server were closed under it.
        self._loop.remove_reader(listener)
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*accepting, return_exceptions=True)
        server.close()
        for connection in storage.connections:
            connection.transport.abort()
        while storage.connections:
            await asyncio.sleep(0)
