# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The view @@memcache-health, see README.txt."""

from urllib.parse import parse_qs

from p01.memcache.extra import extra
from p01.memcache.metrics.health import survey
from p01.memcache.metrics.sources import Sources


with extra('browser'):
    from zope.publisher.browser import BrowserView


# Seconds for which a strict check waits for the servers.
_PATIENCE = 1

_sources = Sources()


class Plain(BrowserView):
    """Text that nobody keeps."""

    def answer(self, text, kind='text/plain; charset=utf-8', status=200):
        response = self.request.response
        response.setStatus(status)
        response.setHeader('Content-Type', kind)
        response.setHeader('Cache-Control', 'no-store')
        response.setHeader('X-Content-Type-Options', 'nosniff')
        return text


class Health(Plain):
    """What a load balancer asks.

    The site works without the cache, so it is in service, unless the question
    is strict. Anybody may ask: the answer is one word, and only a strict
    question reaches the servers, one at a time.
    """

    def __call__(self):
        # The form of a HEAD or OPTIONS may be empty, whatever is asked.
        query = parse_qs(self.request.get('QUERY_STRING') or '')
        strict = query.get('strict') == ['1']
        clients = _sources.clients().values()
        well = all(well for well, _ in survey(
            [*clients], _PATIENCE if strict else 0))
        return self.answer(
            'ok\n' if well else 'degraded\n',
            status=503 if strict and not well else 200)
