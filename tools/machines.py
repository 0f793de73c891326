# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Machines with a memcached each, and the name service that knows them."""

import os

from p01.memcache.testing import Memcached
from p01.memcache.testing import free_ports


# How many there are at a time.
MACHINES = 5


class Machine(Memcached):
    """A memcached on a loopback address of its own."""

    def __init__(self, number, port, *options):
        super().__init__('-m', '64', *options, port=port)
        self.host = f'127.1.0.{number}'

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    def arguments(self):
        arguments = list(super().arguments())
        arguments[arguments.index('127.0.0.1')] = self.host
        return arguments


class Cluster:
    """Machines, which have names; a list of some of them is in force."""

    def __init__(self, folder):
        [self._port] = free_ports(1)
        self.names = os.path.join(folder, 'names')
        self.machines = []
        self._count = 0
        while len(self.machines) < MACHINES:
            self.machines.append(self._make())
        self.publish()

    def _make(self):
        self._count += 1
        machine = Machine(self._count, self._port)
        machine.start()
        return machine

    def publish(self):
        """Have the name service say where the machines are."""
        with open(f'{self.names}.new', 'w') as file:
            for place, machine in enumerate(self.machines):
                print(f'cache-{place}.test', machine.host, file=file)
        os.replace(f'{self.names}.new', self.names)

    def address(self, place):
        return f'cache-{place}.test:{self._port}'

    def replace(self, place):
        """Replace a machine; its successor has the same name."""
        former, self.machines[place] = self.machines[place], self._make()
        self.publish()
        former.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for machine in self.machines:
            machine.stop()
