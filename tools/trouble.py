# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Faults for some memcached: of the servers, and of the network.

The servers run in a process of their own, each behind a fault proxy.
"""

import contextlib
import multiprocessing
import os
import random
import threading
from time import monotonic

from p01.memcache.testing import Memcached
from p01.memcache.tests.support.proxy import Fault
from p01.memcache.tests.support.proxy import FaultProxy


SERVERS = 3

# Seconds for the servers to start, to end, or to be well again.
PATIENCE = 20


def garble(reply):
    return b'\0 \xff' + reply[3:]


def rename(reply):
    """Turn a reply into that of another key."""
    return reply.replace(b'VALUE ', b'VALUE 0', 1)


def repeat(reply):
    """Repeat a whole reply: the surplus must arrive together with it."""
    whole = reply.startswith(b'VALUE ') and reply.endswith(b'\r\nEND\r\n')
    return reply * 2 if whole else reply


def make_fault(chance):
    """Return a fault for an exchange.

    None delays a request: it would be carried out after later requests of the
    client, which no client can prevent.
    """
    after = chance.randrange(chance.choice((10, 300)))
    return chance.choice((
        Fault(after, 'stall'),
        Fault(after, 'fin'),
        Fault(after, 'rst'),
        Fault(after, 'fin', side='request'),
        Fault(after, 'rst', side='request'),
        Fault(side='request', swap=lambda request: request[:after]),
        Fault(side='request', size=1),
        Fault(size=1),
        Fault(after, size=1, pause=0.2),
        Fault(swap=garble),
        Fault(swap=rename),
        Fault(swap=repeat)))


class Trouble(threading.Thread):
    """The faults of one server. A context manager; after it, all is well."""

    def __init__(self, server, proxy, chance):
        super().__init__()
        self.server = server
        self.proxy = proxy
        self.chance = chance
        self.faults = 0
        self.restarted = 0.0  # when it was last restarted
        self._ended = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._ended.set()
        self.join()
        self.proxy.clear()
        self.proxy.release()

    def run(self):
        kinds = (self.exchange, self.cut, self.refuse, self.ignore,
                 self.freeze, self.restart)
        while not self._ended.wait(self.chance.uniform(0, 0.2)):
            [befall] = self.chance.choices(kinds, (92, 4, 1, 1, 1, 1))
            self.faults += befall() is not False
            # What was stalled is passed on now, early or late.
            self.proxy.release()

    def last(self):
        self._ended.wait(self.chance.uniform(0.1, 1))

    def exchange(self):
        seen = self.proxy.exchanges
        self.proxy.once(make_fault(self.chance))
        # There is none while the server is marked down.
        return self.proxy.wait(lambda: self.proxy.exchanges > seen, 1)

    def cut(self):
        self.proxy.cut(self.chance.choice(('fin', 'rst')))

    def refuse(self):
        self.proxy.refuse()
        self.proxy.cut()
        self.last()
        self.proxy.accept()

    def ignore(self):
        self.proxy.ignore()
        self.last()
        # Connections not accepted so far have sent requests, now late.
        self.proxy.refuse()
        self.proxy.accept()

    def freeze(self):
        self.server.freeze()
        self.last()
        self.server.thaw()

    def restart(self):
        self.server.stop()
        self.last()
        self.server.start()
        self.restarted = monotonic()


def serve(pipe, seed):
    """Run the servers, with faults on command, until the pipe is closed."""
    # An interrupt from the terminal is for the command, which closes the pipe.
    os.setsid()
    with contextlib.ExitStack() as stack:
        # There is room for all values. With one thread, a server carries out
        # what arrived while it was frozen in the order of its arrival.
        servers = [stack.enter_context(Memcached('-m', '256', '-t', '1'))
                   for _ in range(SERVERS)]
        proxies = [stack.enter_context(FaultProxy(server.address))
                   for server in servers]
        chances = [random.Random(f'{seed} {place}')
                   for place in range(SERVERS)]
        with contextlib.suppress(EOFError, BrokenPipeError):
            pipe.send([proxy.address for proxy in proxies])
            while True:
                pipe.recv()
                with contextlib.ExitStack() as storm:
                    troubles = [
                        storm.enter_context(Trouble(*each)) for each in
                        zip(servers, proxies, chances, strict=True)]
                    pipe.recv()
                pipe.send((sum(trouble.faults for trouble in troubles),
                           max(trouble.restarted for trouble in troubles)))


class Servers:
    """The servers and their faults, in a process of their own.

    There they do not compete for the interpreter lock with the threads, and do
    not add to the descriptors and the memory that are measured.
    """

    def __init__(self, seed):
        context = multiprocessing.get_context('spawn')
        self.faults = 0
        self.restarted = 0.0  # when one of them was last restarted
        self._pipe, self._theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(self._theirs, seed))

    def __enter__(self):
        self._process.start()
        self._theirs.close()
        try:
            self.addresses = self._receive()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        self._pipe.close()
        self._process.join(PATIENCE)
        self._process.kill()

    @contextlib.contextmanager
    def storm(self):
        self._pipe.send('begin')
        try:
            yield
        finally:
            self._pipe.send('end')
            faults, restarted = self._receive()
            self.faults += faults
            self.restarted = max(self.restarted, restarted)

    def _receive(self):
        if not self._pipe.poll(PATIENCE):
            raise RuntimeError('the process of the servers does not answer')
        return self._pipe.recv()
