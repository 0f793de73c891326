# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A site with the page, as a process, and what asks it."""

import base64
import http.client
import re
from types import SimpleNamespace
from urllib.parse import urlencode

from p01.memcache.tests.frameworks.zopeprocess import PythonProcess
from p01.memcache.tests.frameworks.zopeprocess import Zope


PAGE = '/@@memcache'

INCLUDE = '<include package="p01.memcache" file="browser.zcml" />'


class Asked:
    """Asks a process for pages."""

    def page(self, path=PAGE, login='boss', form=None, **headers):
        """Return the answer; with a form it is sent by POST."""
        if login:
            headers['Authorization'] = 'Basic ' + base64.b64encode(
                f'{login}:x'.encode()).decode()
        body = None
        if form is not None:
            body = urlencode(form)
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=30)
        try:
            connection.request('GET' if form is None else 'POST', path, body,
                               headers)
            answer = connection.getresponse()
            return SimpleNamespace(
                status=answer.status, headers=answer.headers,
                text=answer.read().decode())
        finally:
            connection.close()

    def fields(self, question):
        """Return what the form of a question has, as a list of pairs."""
        return re.findall(
            r'<input type="hidden" name="([^"]*)" value="([^"]*)"',
            question.text)

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}{PAGE}'


class Toolkit(Asked, PythonProcess):
    """An application of the Zope Toolkit, with the clients of a scene.

    With addresses of servers it is a client of these under load. It logs to
    the file ``log``.
    """

    program = 'Zope Toolkit'

    def __init__(self, folder, scene, *addresses):
        super().__init__(folder)
        self._scene = scene, *addresses
        self.log = self.folder / 'log'

    def arguments(self):
        return ('-m', f'{__package__}.toolkit', str(self.port),
                str(self.log), *self._scene)


class ZopeSite(Asked, Zope):
    """A Zope with the page, and the manager "boss"."""

    def __init__(self, folder, directives):
        super().__init__(folder, INCLUDE + directives)
        (self.folder / 'inituser').write_text('boss:x\n')
