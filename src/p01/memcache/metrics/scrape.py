# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The view @@memcache-metrics, see README.txt."""

import functools

from p01.memcache.extra import extra
from p01.memcache.metrics.prometheus import MemcacheCollector
from p01.memcache.metrics.view import Plain


with extra('prometheus'):
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder


class Metrics(Plain):
    """What Prometheus scrapes: the clients' metrics, and no others."""

    def __call__(self):
        encode, kind = choose_encoder(self.request.getHeader('Accept') or '')
        return self.answer(encode(_registry()), kind)


@functools.cache
def _registry():
    registry = CollectorRegistry()
    registry.register(MemcacheCollector())
    return registry
