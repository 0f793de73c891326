# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The two pages: @@memcache shows, @@memcache-empty asks and empties."""

import base64
import hashlib
import os
import pathlib
import socket
import time
from functools import cached_property
from urllib.parse import urlencode

from p01.memcache.browser import clients
from p01.memcache.browser import token
from p01.memcache.browser import verdict
from p01.memcache.errors import MemcacheError
from p01.memcache.extra import extra
from p01.memcache.log import logger
from p01.memcache.protection import in_zope


with extra('browser'):
    from zope.publisher.browser import BrowserView
    from zope.security import checkPermission
    from zope.traversing.browser import absoluteURL


#: The permission to empty a namespace or a region.
EMPTY = 'p01.memcache.Empty'

# Seconds after which the page loads itself again.
_INTERVAL = 5


def _read(name):
    return pathlib.Path(__file__).with_name(name).read_text(encoding='utf-8')


def _source(text):
    """Return what allows a text of our own in a page, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


STYLE, SCRIPT = _read('page.css'), _read('page.js')

# Nothing from another host, and nothing that was slipped in.
_POLICY = '; '.join((
    "default-src 'none'", f'style-src {_source(STYLE)}',
    f'script-src {_source(SCRIPT)}', "connect-src 'self'", "img-src data:",
    "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"))


class Page(BrowserView):
    """What both pages have in common."""

    style, script = STYLE, SCRIPT

    def __call__(self):
        header = self.request.response.setHeader
        header('Content-Type', 'text/html; charset=utf-8')
        header('Content-Security-Policy', _POLICY)
        header('Cache-Control', 'no-store')
        header('Referrer-Policy', 'same-origin')
        header('X-Content-Type-Options', 'nosniff')
        self.update()
        return self.index()

    @property
    def here(self):
        return absoluteURL(self.context, self.request) + '/@@memcache'


class Overview(Page):
    """See ``browser/README.txt``."""

    interval = _INTERVAL

    def update(self):
        self.slabs = bool(self.request.form.get('slabs'))
        self.clients = clients.overview(self.slabs)
        self.verdict = verdict.judge(self.clients)
        self.now = time.strftime('%H:%M:%S')
        self.process = f'process {os.getpid()} on {socket.gethostname()}'

    @cached_property
    def may_empty(self):
        return checkPermission(EMPTY, self.context)

    def ask(self, client, path=()):
        """Return the address of the question before something is emptied."""
        return f'{self.here}-empty?' + urlencode(
            [('client', client.name), *(('region:list', name)
                                        for name in path)])


class Empty(Page):
    """Asks with GET, and does it with POST.

    A POST must have a token, which the question has and no other site can
    know: it is made for this user and this region. What browsers say of where
    a request comes from must not contradict. If the token is too old, or the
    secret it was made with is gone, the question is asked again.
    """

    def update(self):
        form = self.request.form
        self.name = _text(form.get('client'))
        self.path = [_text(name) for name in _list(form.get('region', []))]
        self.done = self.problem = self.token = None
        client = clients.find(self.name, self.path)
        self.known = client is not None and bool(client.generations)
        if not self.known:
            self.request.response.setStatus(404)
            self.problem = (
                'There is no such client or region, or it has no generations, '
                'without which it cannot be emptied.')
            return
        if self.request.method == 'POST':
            self._answer(client, _text(form.get('token')))
        if not self.done:
            self.token = token.make(token.find_secret(client), *self._subject)

    @property
    def title(self):
        name = self.name or '(unnamed)'
        if self.path:
            return f'the region {" / ".join(self.path)} of the client {name}'
        return f'the namespace of the client {name}'

    @property
    def _subject(self):
        return (_user(self.request), self.name, *self.path)

    def _answer(self, client, given):
        site = self.request.getHeader('Sec-Fetch-Site') or 'same-origin'
        if site != 'same-origin' or not token.is_valid(
                given, token.find_secret(client), *self._subject):
            self.request.response.setStatus(403)
            self.problem = (
                'Nothing was emptied: the answer came from another page, was '
                'too late, or memcached has lost what it is checked with. '
                'Please answer again.')
            return
        logger.warning('%s empties %s', _user(self.request), self.title)
        try:
            self.done = client.immediate().invalidateNamespace()
        except MemcacheError as error:
            self.problem = f'It failed: {error}'
        else:
            if self.done is None:
                self.problem = (
                    'The server that knows of it could not be reached: other '
                    'processes may still read what is in it.')


def _list(value):
    return value if isinstance(value, (list, tuple)) else [value]


def _text(value):
    return value if isinstance(value, str) else ''


def _user(request):
    """Return the id of the user, as both frameworks have it."""
    if not in_zope():
        return str(request.principal.id)
    # Not of the request, whose attributes are the form's there.
    from AccessControl import getSecurityManager
    user = getSecurityManager().getUser()
    return '/'.join((*getattr(user, 'getPhysicalPath', tuple)(),
                     str(user.getId())))
