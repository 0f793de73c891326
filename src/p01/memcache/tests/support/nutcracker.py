# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A private twemproxy, whose command is ``nutcracker``."""

import os
import shutil
import tempfile

from p01.memcache.testing import ServerProcess
from p01.memcache.testing import free_ports


CONFIGURATION = '''\
test:
  listen: {address}
  hash: {hash}
  distribution: ketama
  auto_eject_hosts: false
  timeout: 400
  servers:
'''


class Nutcracker(ServerProcess):
    """A proxy for a cluster: ``with Nutcracker(addresses) as proxy: ...``

    With ``md5`` the keys lie where libmemcached's ``ketama_weighted`` has
    them. No server is ever ejected: one that is down is a ``SERVER_ERROR``.
    """

    program = 'nutcracker'
    _folder = None

    def __init__(self, addresses, hash='md5'):
        self.addresses = addresses
        self.hash = hash

    def find(self):
        # Debian installs it where only root's PATH looks.
        return super().find() or shutil.which(self.program, path='/usr/sbin')

    def arguments(self):
        self._folder = tempfile.TemporaryDirectory()
        configuration = os.path.join(self._folder.name, 'configuration')
        with open(configuration, 'w') as file:
            file.write(CONFIGURATION.format(
                address=self.address, hash=self.hash))
            for address in self.addresses:
                file.write(f'   - {address.removeprefix("unix:")}:1\n')
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
