# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Machines with a memcached each, and the places that list them."""

import contextlib
import os
import signal
import time
from time import monotonic

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.testing import Memcached
from p01.memcache.testing import free_ports
from p01.memcache.tests.support.servers import ask


# How many there are at a time.
MACHINES = 5

# Seconds for a machine to read its passwords again.
PATIENCE = 10

# The name of all machines, and that of their service.
ALL, SERVICE = 'caches.test', '_memcache._tcp.shop.test'


class Machine(Memcached):
    """A memcached on a loopback address of its own."""

    def __init__(self, number, port, *options):
        super().__init__('-m', '64', *options, port=port)
        self.host = f'127.1.0.{number}'

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    def accepts(self, login):
        login = login.replace(':', ' ')
        request = f'set x 0 0 {len(login)}\r\n{login}\r\n'
        return ask(self.address, request.encode(), b'\r\n') == b'STORED\r\n'

    def arguments(self):
        arguments = list(super().arguments())
        arguments[arguments.index('127.0.0.1')] = self.host
        return arguments


class Cluster:
    """Machines, each with a name. A list of some of them is in force.

    It is assigned to the clients; a subclass is a place that lists them.
    """

    #: The settings of a client, but for the servers.
    settings = {'handover': 0.5}
    #: The port of the name server, if there is one.
    resolver = None
    #: Whether each process is given a list.
    is_assigned = True

    def __init__(self, folder):
        [self.port] = free_ports(1)
        self.names = os.path.join(folder, 'names')
        # memcached reads its file again as another user.
        os.chmod(folder, 0o755)
        self._passwords = os.path.join(folder, 'passwords')
        self.login = os.path.join(folder, 'login')
        self._number = 0  # of the password
        self._write(self._passwords, self._password)
        self._write(self.login, self._password)
        self.places = []
        self.machines = []
        self._count = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop)
            while len(self.machines) < MACHINES:
                self.machines.append(self._make())
            self._serve(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.close()

    def _make(self):
        self._count += 1
        machine = Machine(self._count, self.port, '-Y', self._passwords)
        machine.start()
        return machine

    def _stop(self):
        for machine in self.machines:
            machine.stop()

    def _serve(self, stack):
        """Start what lists them."""

    def name(self, place):
        return f'cache-{place}.test'

    def addresses(self, places):
        """Return the addresses that clients see."""
        return [f'{self.name(place)}:{self.port}' for place in places]

    @property
    def servers(self):
        """The setting of a client."""
        return self.addresses(self.places)

    def publish(self):
        """Have all know the list, and where the machines are."""
        hosts = [machine.host for machine in self.machines]
        self._write(self.names, *(
            f'{self.name(place)} {host}' for place, host in enumerate(hosts)),
            ' '.join([ALL, *(hosts[place] for place in self.places)]))

    def _write(self, path, *lines):
        with open(f'{path}.new', 'w') as file:
            print(*lines, sep='\n', file=file)
        os.chmod(f'{path}.new', 0o644)
        os.replace(f'{path}.new', path)

    @property
    def _password(self):
        return f'shop:password-{self._number}'

    def rotate(self, pause):
        """Replace the password; both are valid for that many seconds."""
        former, self._number = self._password, self._number + 1
        if pause:
            self._accept(self._password, former)
        self._write(self.login, self._password)
        time.sleep(pause)
        self._accept(self._password)

    def _accept(self, *logins):
        """Have the machines accept these only."""
        self._write(self._passwords, *logins)
        for machine in self.machines:
            machine.process.send_signal(signal.SIGHUP)
        end = monotonic() + PATIENCE
        for machine in self.machines:
            while not machine.accepts(logins[0]):
                if monotonic() > end:
                    raise RuntimeError('a machine has the old password')
                time.sleep(0.01)

    def replace(self, place):
        """Replace a machine; return the former one, which still runs."""
        former, self.machines[place] = self.machines[place], self._make()
        return former


class Found(Cluster):
    """A list that clients find."""

    # The handover is longer than they need to find it.
    settings = {'refresh': 0.2, 'handover': 1}
    is_assigned = False


class ByEndpoint(Found):
    """A configuration endpoint lists them."""

    def _serve(self, stack):
        self._endpoint = stack.enter_context(EmbeddedServer())

    @property
    def servers(self):
        return [f'config://{self._endpoint.address}']

    def publish(self):
        super().publish()
        self._endpoint.cluster[:] = [
            f'{self.name(place)}|{self.machines[place].host}|{self.port}'
            for place in self.places]


class ByService(Found):
    """SRV records list them."""

    servers = [f'srv://{SERVICE}']

    def _serve(self, stack):
        # It needs dnspython.
        from p01.memcache.tests.support.nameserver import NameServer
        self._server = stack.enter_context(NameServer())
        self.resolver = self._server.port

    def publish(self):
        super().publish()
        self._server.records = {f'{SERVICE}.': [
            f'SRV 0 1 {self.port} {self.name(place)}.'
            for place in self.places]}


class ByName(Found):
    """They are the addresses of one name."""

    @property
    def servers(self):
        return [f'dns://{ALL}:{self.port}']

    def addresses(self, places):
        return [self.machines[place].address for place in places]


CLUSTERS = {
    'assignment': Cluster,
    'config': ByEndpoint,
    'srv': ByService,
    'dns': ByName,
}
