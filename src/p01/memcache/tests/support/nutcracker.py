# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A private twemproxy, whose command is ``nutcracker``."""

import os
import shutil
import tempfile

from p01.memcache.testing import ServerProcess
from p01.memcache.testing import free_ports


#: Its settings, if a test names no others.
SETTINGS = {
    'hash': 'md5',
    'distribution': 'ketama',
    'auto_eject_hosts': 'false',
    'timeout': 400,
}


def entry(address):
    """Return a server as the configuration names it."""
    where, _, weight = address.partition('/?')
    path = where.removeprefix('unix:')
    # A socket has the name that libmemcached gives it.
    return f'{path}:{weight or 1}' + (f' {path}:0' if path != where else '')


class Nutcracker(ServerProcess):
    """A proxy for a cluster: ``with Nutcracker(addresses) as proxy: ...``

    The keys lie where libmemcached's ``ketama_weighted`` has them, and no
    server is ever ejected, unless other `settings` are given: one that is down
    is a ``SERVER_ERROR``.
    """

    program = 'nutcracker'
    _folder = None

    def __init__(self, addresses, **settings):
        self.addresses = addresses
        self.settings = {**SETTINGS, **settings}

    def find(self):
        # Debian installs it where only root's PATH looks.
        return super().find() or shutil.which(self.program, path='/usr/sbin')

    def arguments(self):
        self._folder = tempfile.TemporaryDirectory()
        configuration = os.path.join(self._folder.name, 'configuration')
        with open(configuration, 'w') as file:
            print('test:', f'  listen: {self.address}', *(
                f'  {name}: {value}' for name, value in self.settings.items()),
                '  servers:', *(f'   - {entry(address)}'
                                for address in self.addresses),
                sep='\n', file=file)
        # Its statistics cannot be turned off, and their port is fixed.
        [statistics] = free_ports(1)
        return ('-c', configuration,
                '-p', os.path.join(self._folder.name, 'pid'),
                # Print the log; by default it goes to /var/log.
                '-o', '', '-a', '127.0.0.1', '-s', str(statistics))

    def stop(self):
        super().stop()
        if self._folder is not None:
            self._folder.cleanup()
