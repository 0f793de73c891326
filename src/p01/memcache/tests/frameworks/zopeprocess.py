# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A Zope, and a ZEO server, each a process of its own."""

import http.client
import os
import pathlib
import sys
from unittest import mock

from p01.memcache.testing import ServerProcess
from p01.memcache.testing import free_ports


ZOPE_CONF = """\
instancehome {folder}
clienthome {folder}
<zodb_db main>
  {storage}
  mount-point /
</zodb_db>
"""

FILE_STORAGE = """\
<filestorage>
    path {folder}/Data.fs
  </filestorage>"""

ZEO_CLIENT = """\
<zeoclient>
    server {address}
    storage 1
  </zeoclient>"""

SITE_ZCML = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:five="http://namespaces.zope.org/five"
    xmlns:p01="http://namespaces.zope.org/p01">

  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml" />
  <five:loadProducts />

  <include package="p01.memcache" file="meta.zcml" />
  <include package="p01.memcache" />
  <include package="p01.memcache.tests.frameworks.site" />
  {directives}

</configure>
"""


class PythonProcess(ServerProcess):
    """A Python that runs a module, with the packages of this process.

    What it writes is in a `folder`, and there when it is started again.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        [self.port] = free_ports(1)

    def find(self):
        return sys.executable

    def start(self):
        # The process inherits the environment.
        path = os.pathsep.join(filter(None, sys.path))
        with mock.patch.dict(os.environ, PYTHONPATH=path):
            super().start()


class ZEO(PythonProcess):
    """A ZEO server with a database of its own."""

    program = 'ZEO'

    def arguments(self):
        return ('-m', 'ZEO.runzeo', '-a', self.address,
                '-f', str(self.folder / 'Data.fs'))


class Zope(PythonProcess):
    """A Zope whose site is in the package ``site``.

    `directives` are ZCML, such as that of the client. `zeo` is the address of
    a ZEO server; without it there is a database in the folder.
    """

    program = 'Zope'

    def __init__(self, folder, directives, threads=4, zeo=None):
        super().__init__(folder)
        self.threads = threads
        storage = FILE_STORAGE if zeo is None else ZEO_CLIENT
        (self.folder / 'zope.conf').write_text(ZOPE_CONF.format(
            folder=self.folder,
            storage=storage.format(folder=self.folder, address=zeo)))
        (self.folder / 'etc').mkdir()
        (self.folder / 'etc' / 'site.zcml').write_text(
            SITE_ZCML.format(directives=directives))

    def arguments(self):
        return ('-m', f'{__package__}.site.serve',
                str(self.folder / 'zope.conf'),
                '127.0.0.1', str(self.port), str(self.threads))

    def browser(self):
        return Browser(self.port)


class Browser:
    """One connection to a Zope."""

    def __init__(self, port):
        self._connection = http.client.HTTPConnection(
            '127.0.0.1', port, timeout=30)

    def open(self, page, **form):
        """Return the status of a page, and its text."""
        query = '&'.join(f'{name}={value}' for name, value in form.items())
        self._connection.request('GET', f'/@@{page}?{query}')
        response = self._connection.getresponse()
        return response.status, response.read().decode()

    def read(self, page='read', **form):
        status, text = self.open(page, **form)
        if status != 200:
            raise AssertionError(f'{page}: {status}, {text}')
        return text

    def close(self):
        self._connection.close()
