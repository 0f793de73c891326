# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The history of several looks: what has happened, and the rate of hits."""

from collections import deque

from p01.memcache.console.look import figures
from p01.memcache.console.words import span


# Looks whose hits are kept, and events.
_LOOKS, _EVENTS = 1000, 100


class History:
    """What a series of looks has shown so far.

    `figures` are those of the last one, `hits` the rates of hits, None for
    looks without a read, and `events` pairs of a time and a text.
    """

    def __init__(self):
        self.figures = None
        self.hits = deque(maxlen=_LOOKS)
        self.events = deque(maxlen=_EVENTS)
        self._look = None
        self._down = {}  # since when
        self._up = {}  # the last figures

    def add(self, look):
        """Take another look in; return the events that it has shown."""
        before, self.figures = self.figures, figures(look, self._look)
        if before is not None:
            self.hits.append(self.figures['hitRateNow'])
        self._look = look
        known = {server['server']: server for server in (
            before or self.figures)['servers']}
        events = [
            (look.time, f'{server["server"]} {text}')
            for server in self.figures['servers']
            for text in self._events(
                server, known.pop(server['server'], None))]
        events += [(look.time, f'{name} is not listed any more')
                   for name in known]
        self.events.extend(events)
        return events

    def _events(self, server, before):
        """Yield what has happened to a server since the look before."""
        name, now = server['server'], self._look.time
        if server['state'] == 'down':
            if name not in self._down:
                self._down[name] = now
                yield f'is down: {server["reason"]}'
            return
        last, self._up[name] = self._up.get(name), server
        if before is None:
            yield 'is listed now'
        elif name in self._down:
            away = now - self._down.pop(name)
            text = f'is up again, after {span(away)}'
            if server['uptime'] is not None and server['uptime'] <= away + 1:
                text += '; it has restarted, and was empty'
            yield text
        elif server['restarted']:
            yield 'has restarted, and was empty'
        if last is not None:
            # A site flushes a server that has missed changes when it is back.
            yield from _grown(server, last)


def _grown(server, before):
    """Yield what a server counts that an operator should know of."""
    for name, text in (
            ('flushes', 'was flushed'),
            ('refusedConnections', 'has refused connections: it has as many'
                                   ' as it takes')):
        if (before[name] is not None and server[name] is not None
                and server[name] > before[name]):
            yield text
    if server['evictionsPerSecond'] and not before['evictionsPerSecond']:
        yield 'evicts values: its memory is full'
