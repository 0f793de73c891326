# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""One server: its address, its pool of connections and its health.

A server is up, failing (it showed failures, but fewer than `retries` in a
row) or down. While it is down nobody asks it, and nobody waits for it: after
`blacktime` seconds one request is let through and decides.
"""

import ipaddress
import logging
import re
import threading
from time import monotonic

from p01.memcache import fork
from p01.memcache.connection import Connection
from p01.memcache.errors import ClientError
from p01.memcache.errors import ConnectError
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerBusy
from p01.memcache.errors import ServerDown
from p01.memcache.errors import ServerError
from p01.memcache.keeping import LockKeeping
from p01.memcache.pool import Pool


logger = logging.getLogger('p01.memcache')

PORT = 11211

_parse = re.compile(
    r'(?:\[(?P<ip6>[0-9A-Fa-f:.]+)\]|(?P<host>[\w.-]+))'
    r'(?::(?P<port>[0-9]{1,5}))?').fullmatch


def parse_address(address):
    """Return the host and the port of ``host``, ``host:port``, ``[ip6]:port``.
    """
    if not isinstance(address, str):
        raise TypeError(f'server {address!r}: must be a str')
    match = _parse(address)
    if match is None:
        raise ValueError(
            f'server {address!r}: must be host, host:port or [ip6]:port')
    port = int(match['port'] or PORT)
    if not 0 < port < 65536:
        raise ValueError(
            f'server {address!r}: the port must be between 1 and 65535')
    if match['ip6']:
        # Its errors name the value and the rule.
        return str(ipaddress.IPv6Address(match['ip6'])), port
    return match['host'], port


class Server:
    """Requests to one server. All times are seconds."""

    def __init__(self, address, retries, delay, blacktime, size, idle_time):
        self.address = address
        self.opened = 0  # connections so far
        self._retries = retries
        self._delay = delay
        self._blacktime = blacktime
        self._lock = threading.RLock()  # a signal's handler may come back
        self._heard = 0.0       # when the last one asked that got a reply
        self._failures = 0      # in a row
        self._down_until = 0.0  # then one request may look; 0: not down
        self._connect_at = 0.0  # then one may try to connect; 0: all may
        host, port = parse_address(address)
        self._keeping = keeping = LockKeeping()
        self.pool = Pool(
            lambda: Connection(host, port, keeping), size, idle_time)
        fork.register(self)

    def __repr__(self):
        return f'<Server {self.address} {self.state}, {self.pool!r}>'

    @property
    def state(self):
        if self._down_until:
            return 'down'
        return 'failing' if self._failures else 'up'

    def request(self, data, read, deadline, *args):
        """Send `data` and return what ``read(reader, *args)`` makes of it."""
        if self._down_until:
            self._probe(deadline)
        start = monotonic()
        connection = self.pool.take(deadline)
        try:
            asked = monotonic()
            if not connection.is_ready():
                self._connect(connection, deadline)
            reply = connection.request(data, read, deadline, *args)
        except ServerError:
            self._answered(asked)
            raise
        except (ClientError, ServerBusy, ServerDown):
            raise
        except MemcacheError as error:
            # Who spent more time waiting for a connection than was left for
            # the server does not blame it, if it answered others meanwhile.
            left = deadline - asked
            if left > 0 and (left >= asked - start or self._heard < start):
                self._failed(error)
            raise
        finally:
            if connection.dirty:
                self.pool.drop(connection)
            else:
                self.pool.give(connection)
        self._answered(asked)
        if self._keeping.active:
            self._keeping.give_way()
        return reply

    def statistics(self):
        return {**self.pool.statistics(), 'opened': self.opened}

    def close(self):
        self.pool.close()

    def after_fork(self):
        self._lock = threading.RLock()
        self.pool.after_fork()

    def _probe(self, deadline):
        now = monotonic()
        if now >= self._down_until:
            with self._lock:
                if not self._down_until:
                    return  # the probe came back meanwhile
                if now >= self._down_until:
                    # Nobody else, as long as this request goes on.
                    self._down_until = max(now + self._blacktime, deadline)
                    return
        raise ServerDown(f'{self.address} is down')

    def _try_again(self, deadline):
        now = monotonic()
        if now >= self._connect_at:
            with self._lock:
                if not self._connect_at:
                    return
                if now >= self._connect_at:
                    self._connect_at = max(now + self._delay, deadline)
                    return
        raise ServerDown(f'{self.address} did not accept a connection')

    def _connect(self, connection, deadline):
        # Whatever it is that came meanwhile, it is not used again.
        connection.close()
        if self._connect_at:
            self._try_again(deadline)
        connection.connect(deadline)
        with self._lock:
            self._connect_at = 0.0
            self.opened += 1

    def _failed(self, error):
        with self._lock:
            before = self.state
            self._failures += 1
            if isinstance(error, ConnectError):
                self._connect_at = monotonic() + self._delay
            if self._failures >= self._retries:
                self._down_until = monotonic() + self._blacktime
            after = self.state
        if after != before:
            logger.warning(
                'memcached %s is %s: %s', self.address, after, error)

    def _answered(self, asked):
        self._heard = asked
        if not (self._failures or self._down_until):
            return
        with self._lock:
            before = self.state
            self._failures = 0
            self._down_until = 0.0
        if before != 'up':
            logger.warning('memcached %s is up again', self.address)
