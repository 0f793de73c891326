# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A look at all servers: what each of them says of itself, and how it fares.
"""

from threading import Thread
from time import monotonic
from time import time

from p01.memcache.log import describe
from p01.memcache.log import printable
from p01.memcache.observed.clients import parsed
from p01.memcache.wire.command import Get
from p01.memcache.wire.command import Stats


# Seconds beyond the time-out after which nobody waits for a server.
_GRACE = 0.5

# A key without a value. Proxies answer it, too.
_NO_KEY = b'p01.memcache'

# Counters whose rates are computed.
_RATED = {'get_hits': 'hits', 'get_misses': 'misses', 'cmd_set': 'sets',
          'evictions': 'evictions'}


class Answer:
    """What one server has answered, or why it has not.

    `reply` is None then, and `error` says why. `began` is when it was asked,
    on the monotonic clock, and `seconds` what the answer took.
    """

    def __init__(self, server, command, deadline):
        self.server = printable(server.address)
        self.began = monotonic()
        self._found = None, 'no answer in time', None
        # A daemon: neither Ctrl-C nor a look waits for what hangs, such as a
        # name service.
        self._thread = Thread(
            target=self._ask, args=(server, command, deadline), daemon=True)
        self._thread.start()

    def _ask(self, server, command, deadline):
        reply = reason = None
        try:
            reply = server.run(command, deadline)
        except Exception as error:
            reason = describe(error)
        self._found = reply, reason, monotonic() - self.began

    def wait(self, end):
        self._thread.join(max(end - monotonic(), 0))
        self.reply, self.error, self.seconds = self._found

    def number(self, name):
        """Return a statistic, or None if the server does not say it."""
        return parsed(self.reply or {}, name)

    def text(self, name):
        text = (self.reply or {}).get(name)
        return None if text is None else printable(text, 40)


class Look:
    """The answers of all servers at one time."""

    def __init__(self, site, command):
        self.time = time()
        self.drained = [printable(text) for text in site.drained]
        deadline = site.deadline()
        self.answers = [Answer(server, command, deadline)
                        for server in site.servers(deadline)]
        for answer in self.answers:
            answer.wait(deadline + _GRACE)

    @property
    def up(self):
        """How many of the servers have answered."""
        return sum(answer.error is None for answer in self.answers)


def at_statistics(site):
    return Look(site, Stats())


def at_life(site):
    return Look(site, Get(_NO_KEY))


def figures(look, former=None):
    """Return what is known of the servers, as a dict for JSON.

    Rates are those since the `former` look; they are None if there is none,
    and for a server that was down or has restarted meanwhile.
    """
    before = {answer.server: answer for answer in former.answers
              } if former else {}
    servers = [_of_server(answer, before.get(answer.server))
               for answer in look.answers]
    servers += [{**dict.fromkeys(servers[0]), 'server': server,
                 'state': 'drained', 'restarted': False}
                for server in look.drained]
    return {'time': look.time, 'up': look.up, 'down': len(
        look.answers) - look.up, **_in_all(servers), 'servers': servers}


def _of_server(answer, former):
    hits, misses = answer.number('get_hits'), answer.number('get_misses')
    restarted, rates = False, dict.fromkeys(_RATED.values())
    if answer.error is None and former is not None and former.error is None:
        seconds = answer.began - former.began
        counts = {
            name: _minus(answer.number(counter), former.number(counter))
            for counter, name in _RATED.items()}
        restarted = (
            _minus(answer.number('uptime'), former.number('uptime')) or 0
            ) < 0 or any((count or 0) < 0 for count in counts.values())
        if not restarted:
            rates = {name: None if count is None else count / seconds
                     for name, count in counts.items()}
    return {
        'server': answer.server,
        'state': 'up' if answer.error is None else 'down',
        'reason': answer.error,
        'seconds': answer.seconds,
        'version': answer.text('version'),
        'uptime': answer.number('uptime'),
        'restarted': restarted,
        'hits': hits,
        'misses': misses,
        'hitRate': _share(hits, misses),
        'hitRateNow': _share(rates['hits'], rates['misses']),
        'getsPerSecond': _plus(rates['hits'], rates['misses']),
        'setsPerSecond': rates['sets'],
        'evictionsPerSecond': rates['evictions'],
        'evictions': answer.number('evictions'),
        'bytes': answer.number('bytes'),
        'maxBytes': answer.number('limit_maxbytes'),
        'items': answer.number('curr_items'),
        'connections': answer.number('curr_connections'),
        'maxConnections': answer.number('max_connections'),
        'refusedConnections': answer.number('listen_disabled_num'),
        'flushes': answer.number('cmd_flush'),
    }


# Those of which the sum says something.
_SUMS = ('hits', 'misses', 'getsPerSecond', 'setsPerSecond',
         'evictionsPerSecond', 'evictions', 'bytes', 'maxBytes', 'items',
         'connections')


def _in_all(servers):
    known = {name: [server[name] for server in servers
                    if server[name] is not None] for name in _SUMS}
    sums = {name: sum(values) if values else None
            for name, values in known.items()}
    now = [(server['hitRateNow'], server['getsPerSecond'])
           for server in servers if server['hitRateNow'] is not None]
    gets = sum(count for _, count in now)
    return {
        **sums,
        'hitRate': _share(sums['hits'], sums['misses']),
        'hitRateNow': sum(rate * count for rate, count in now) / gets
        if gets else None,
    }


def _share(part, rest):
    whole = _plus(part, rest)
    return part / whole if whole else None


def _plus(one, other):
    return None if None in (one, other) else one + other


def _minus(one, other):
    return None if None in (one, other) else one - other
