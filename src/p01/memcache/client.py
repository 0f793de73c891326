# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The classic memcache client, one connection per thread and server.

python-memcached finds the server of a key, sets and gets values, and keeps
the threads apart (its client is a ``threading.local``). What it leaves open is
closed here: a reply is checked against what was asked, nothing is unpickled on
the way, and a connection is used again only if its last reply was read to the
end. The other commands are those of `p01.memcache.wire.protocol`:
python-memcached does not tell their outcome from trouble.
"""

import contextlib
import math
import weakref
from time import monotonic

import memcache
from zope.interface import implementer

from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import LeaseLost
from p01.memcache.errors import LocalError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ReceiveError
from p01.memcache.errors import ReceiveTimeout
from p01.memcache.errors import SendTimeout
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.errors import is_closed
from p01.memcache.facade.base import BaseClient
from p01.memcache.features import lease
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.secret import discreet
from p01.memcache.threads import fork
from p01.memcache.transport.address import hide_secrets
from p01.memcache.transport.address import parse
from p01.memcache.transport.dial import Dialer
from p01.memcache.transport.stream import Stream
from p01.memcache.wire import cas
from p01.memcache.wire import meta
from p01.memcache.wire import protocol
from p01.memcache.wire.reader import Reader


# Seconds for which a connection is used. The next one asks for the addresses
# of the server's name again.
_MOST_AGE = 300


class _Host(memcache._Host):
    """One thread's connection to a server.

    ``with host.until(deadline):`` is an operation.

    It is dirty from before the request until the reply was read to its end,
    whatever ends the operation in between. The dialer is that of all threads,
    so that they talk to one address of the server.
    """

    dirty = True
    since = math.inf  # when it was made
    _asked = False    # a reply is to come
    knows_meta = None  # not tried yet
    _stream = _place = None

    def __init__(self, dialer, timeout, retry):
        self._dialer = dialer
        address = dialer.address
        if address.is_unix:
            host = f'unix:{address.host}'
        elif ':' in address.host:
            host = f'inet6:[{address.host}]:{address.port}'
        else:
            host = f'{address.host}:{address.port}'
        super().__init__(
            (host, address.weight), socket_timeout=timeout, dead_retry=retry)
        self.name = address.text

    def until(self, deadline):
        self._deadline = deadline
        return self

    def __enter__(self):
        fork.notice()
        self._began = self._sent = monotonic()
        self._heard = False
        self._is_fresh = not self._is_ready()
        if self._is_fresh:
            self.close_socket()
            self._connect()
        self.dirty = True
        return self

    def __exit__(self, kind, error, traceback):
        self._asked = False
        if error is None or isinstance(error, (ServerError, LeaseLost)):
            self.dirty = self._reader.closed
            if self.dirty:
                self.close_socket()
            return
        self.close_socket()
        if isinstance(error, MemoryError):
            raise LocalError('no memory') from None
        if not isinstance(error, MemcacheError):
            return
        error.server = self.name
        if not self._is_fresh:
            # What has befallen it says nothing about a new one.
            error.again = is_closed(error) and not self._heard
        elif (isinstance(error, (SendTimeout, ReceiveTimeout))
              and self._sent < self._deadline):
            # Else this process stood still.
            self._leave_alone()

    def __del__(self):
        # Its thread has ended, or its client was replaced.
        self.close_socket()

    def close_socket(self):
        # Kept although it is closed: an operation that a signal's handler
        # interrupts, and closes the connection of, finds an OSError.
        if self._stream is not None:
            self._stream.close()

    def _leave_alone(self):
        self.deaduntil = monotonic() + self.dead_retry

    def _is_ready(self):
        """Whether it can be used, and nothing came since the last reply.

        It is dirty meanwhile: a signal's handler that comes in between makes
        a connection of its own, and does not wait on this one's time-out.
        """
        dirty, self.dirty = self.dirty, True
        return (not dirty
                and self._place is self._dialer.place
                and self._began - self.since < _MOST_AGE
                and self._reader.is_empty()
                and self._stream.is_quiet())

    def _connect(self):
        if monotonic() < self.deaduntil:
            raise ServerDown(f'{self.name} failed a moment ago')
        try:
            self._stream, self._place = self._dialer.dial(
                self._deadline, lambda sock, deadline: Stream(sock))
        except MemoryError:
            raise LocalError('no memory') from None
        except MemcacheError as error:
            error.server = self.name
            if isinstance(error, ConnectError):
                self._leave_alone()
            raise
        self.since = monotonic()
        # No cycle: what is dropped is closed at once.
        host = weakref.proxy(self)
        self._reader = Reader(lambda size: host._receive(size))

    def _send(self, data):
        self._stream.deadline = self._deadline
        self._stream.send(data)
        self._sent = monotonic()
        self._asked = True

    def _receive(self, size):
        if not self._asked:
            # A signal's handler or a finalizer, which has used the client
            # meanwhile, has taken the connection away.
            error = ReceiveError('the connection was taken away')
            error.again = True
            raise error
        self._stream.deadline = self._deadline
        data = self._stream.receive(size)
        self._heard = True
        return data

    def ask(self, request, read, *args):
        """Return what ``read(reader, *args)`` makes of the reply."""
        self._send(request)
        return read(self._reader, *args)

    def change(self, key, request, read):
        """Return what `read` makes of the reply to a change of the key."""
        try:
            return self.ask(request, read)
        except ServerError:
            self.remove(key)
            raise

    def remove(self, key):
        """The old value must not stand as if it had been replaced."""
        self.ask(protocol.delete(key), protocol.read_deleted)

    # What python-memcached calls.

    def send_cmd(self, cmd):
        self._send(cmd + b'\r\n')

    def read_block(self, size, most):
        return protocol.read_block(self._reader, size, most)

    def readline(self, raise_exception=False):
        if self._reader.closed:
            return b''
        line = self._reader.readline(protocol.MAX_LINE)
        # An empty one would be the end of the reply to python-memcached.
        if not line.endswith(b'\r\n') or len(line) == 2:
            raise protocol.unexpected(line)
        return line[:-2]

    def expect(self, *texts, raise_exception=False):
        line = self.readline()
        if line not in texts:
            raise protocol.unexpected(line + b'\r\n')
        return line


class _Client(memcache.Client):
    """python-memcached's client; each thread sees hosts of its own.

    A value is ``(data, flags)`` for it, in both directions. Of more than
    ``most`` bytes none is received.
    """

    most = protocol.MAX_VALUE

    def set_servers(self, servers):
        self.servers = [
            _Host(dialer, self.socket_timeout, self.dead_retry)
            for dialer in servers]
        self._init_buckets()

    def host(self, key):
        """Return the host that has the key, up or not."""
        protocol.check_key(key)
        return self.buckets[memcache.cmemcache_hash(key) % len(self.buckets)]

    def _get_server(self, key):
        # python-memcached would move the keys of a dead server to another,
        # and read old values from the first one when it returns.
        self._wanted = key
        return self.host(key), key

    def _val_to_store_info(self, val, min_compress_len):
        # The server knows better than python-memcached what is too large.
        data, flags = val
        return flags, len(data), data

    def _expectvalue(self, server, line=None, raise_exception=False):
        match = protocol.parse_value(line + b'\r\n')
        if match is None:
            raise protocol.unexpected(line + b'\r\n')
        key, flags, size = match.groups()
        if key != self._wanted:
            raise protocol.unasked(key)
        self._wanted = None  # a second one would be too many
        return key, int(flags), int(size)

    def _recv_value(self, server, flags, rlen):
        return server.read_block(rlen, self.most), flags


@implementer(IMemcacheClient)
class MemcacheClient(BaseClient):
    """See `IMemcacheClient`.

    Every thread that uses it has a connection to every server, until the
    thread ends. An operation takes 3 seconds at most. Several servers are
    asked one after the other. What a server did not accept or answer in time,
    on a connection that was just made, is left alone by that thread for 3
    seconds.
    """

    _timeout = 3
    _retry = 3
    _client = None

    @discreet
    def __init__(self, servers=('127.0.0.1:11211',), debug=0,
                 pickleProtocol=-1, lifetime=3600, namespace=None, *,
                 keyScheme='compatible', generations=False,
                 serializer='pickle', secretsFile=None, secretsVariable=None,
                 allow=None, compress=None, maxValueSize=1 << 26):
        super().__init__(
            servers=servers, debug=debug, pickleProtocol=pickleProtocol,
            lifetime=lifetime, namespace=namespace, keyScheme=keyScheme,
            generations=generations, serializer=serializer,
            secretsFile=secretsFile, secretsVariable=secretsVariable,
            allow=allow, compress=compress, maxValueSize=maxValueSize)
        self._follow('servers')
        fork.register(self)
        self._is_made = True

    def _follow(self, name):
        super()._follow(name)
        if name != 'servers':
            return
        for server in self.servers:
            if server.startswith('tls://'):
                raise ValueError(
                    f'server {hide_secrets(server)!r}: python-memcached has no'
                    ' TLS')
        self.close()

    def close(self):
        if self._client is not None:
            self._client.disconnect_all()
        # The other threads' connections end with the former client: at once,
        # or after the operation that they are used for.
        self._client = _Client(
            [Dialer(parse(server)) for server in self.servers],
            socket_timeout=self._timeout, dead_retry=self._retry)

    def after_fork(self):
        super().after_fork()
        self.close()

    def _retrieve(self, key, deadline):
        client = self._client

        def ask():
            client.most = self._codec.most
            with client.host(key).until(deadline):
                return client.get_multi([key]).get(key)

        return _repeat(ask)

    def _retrieve_many(self, keys, deadline, most):
        found, errors = {}, []
        for host, wanted in self._by_host(keys).items():
            def ask(host=host, wanted=wanted):
                for request in protocol.get_all(
                        [key for key in wanted if key not in found], found,
                        most):
                    with host.until(deadline):
                        host.ask(*request)

            try:
                _repeat(ask)
            except MemcacheError as error:
                errors.append(error)
        return found, errors

    def _retrieve_unique(self, key, deadline):
        host = self._client.host(key)
        found = self._ask(
            host, deadline, protocol.gets(key), protocol.read_unique, key,
            self._codec.most)
        return cas.of(found, host.name)

    def _ask(self, host, deadline, request, read, *args):
        """Make a request that does no harm if it is made twice."""
        def ask():
            with host.until(deadline):
                return host.ask(request, read, *args)

        return _repeat(ask)

    def _store(self, key, data, flags, expires, deadline):
        client = self._client
        with client.host(key).until(deadline) as host:
            try:
                client.set(key, (data, flags), expires)
            except ServerError:
                host.remove(key)
                raise

    def _change(self, key, request, expires, read, deadline, server=None,
                since=math.inf):
        host = self._client.host(key)
        if server not in (None, host.name):
            return None

        def ask():
            with host.until(deadline):
                if host.since > since:
                    raise LeaseLost('the connection has ended')
                return host.change(key, request(expires), read)

        return _repeat(ask) if protocol.may_repeat(read) else ask()

    def _change_many(self, changes, request, expires, read, deadline):
        replies = {}
        requests = {key: request(key, *arguments, expires)
                    for key, arguments in changes.items()}
        for host, keys in self._by_host(requests).items():
            def ask(host=host, keys=keys):
                self._converse(
                    host, {key: requests[key] for key in keys
                           if key not in replies}, read, replies, deadline)

            try:
                _repeat(ask) if protocol.may_repeat(read) else ask()
            except MemcacheError as error:
                for key in keys:
                    replies.setdefault(key, error)
            # The old ones must not stand, whatever became of the others.
            refused = {key: protocol.delete(key) for key in keys
                       if isinstance(replies[key], ServerError)}
            with contextlib.suppress(MemcacheError):
                self._converse(
                    host, refused, protocol.read_deleted, {}, deadline)
        return replies

    def _converse(self, host, requests, read, replies, deadline):
        for asked in protocol.change_all(
                requests, read, replies, protocol.MOST_BYTES):
            # Each time it is looked whether more came than was asked for.
            with host.until(deadline):
                host.ask(*asked)

    def _renew(self, key, request, expires, read, deadline, *args):
        return self._ask(
            self._client.host(key), deadline, request(expires), read, *args)

    def _lend(self, key, grace, deadline):
        return lease.claim(self, key, self._client.host(key).name, deadline)

    def _is_leased(self, key, deadline):
        # Other clients may use the meta commands.
        host = self._client.host(key)
        if host.knows_meta is False:
            return None
        try:
            return self._ask(
                host, deadline, meta.is_leased(key), meta.read_is_leased)
        except ClientError:
            host.knows_meta = False
            return None

    def _by_host(self, keys):
        hosts = {}
        for key in keys:
            hosts.setdefault(self._client.host(key), []).append(key)
        return hosts

    def _flush(self, deadline):
        return self._ask_all(protocol.flush_all(), protocol.read_ok)

    def _statistics(self, deadline):
        return self._ask_all(protocol.stats(), protocol.read_stats)

    def _ask_all(self, request, read):
        replies = []
        for host in self._client.servers:
            try:
                replies.append((host.name, self._ask(
                    host, monotonic() + self._timeout, request, read)))
            except MemcacheError as error:
                replies.append((host.name, error))
        return replies


def _repeat(ask):
    """Ask a second time where a used connection turned out to be closed."""
    try:
        return ask()
    except MemcacheError as error:
        if not error.again:
            raise
    return ask()
