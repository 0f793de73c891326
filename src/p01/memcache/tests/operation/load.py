# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A client under load, in the process that shows the page."""

import random
import threading
import time

from p01.memcache.uclient import UltraMemcacheClient


# How many keys there are; a few of them are read far more often.
_KEYS = 3000

_THREADS = 3

# Seconds that a visitor thinks, and that a page takes to compute.
_PAUSE, _WORK = 0.02, 0.002


def shop(*addresses):
    """Three threads read pages and prices, as long as the process runs."""
    client = UltraMemcacheClient(
        list(addresses), namespace='shop', generations=True, lifetime=120,
        timeout=0.25, delay=1, blacktime=10)
    prices = client.region('prices', lifetime=60)
    for number in range(_THREADS):
        threading.Thread(target=_visit, args=(client, prices, number),
                         daemon=True).start()
    return {'': client}


def _visit(client, prices, number):
    chance = random.Random(number)
    while True:
        page = int(_KEYS * chance.random() ** 4)
        client.getOrCreate(('page', page), lambda page=page: _compute(page))
        if chance.random() < 0.3:
            price = chance.randrange(200)
            if prices.query(price) is None:
                prices.set(price, price / 7)
        if chance.random() < 0.01:
            client.invalidate(('page', page))
        time.sleep(_PAUSE)


def _compute(page):
    time.sleep(_WORK)
    return f'page {page} ' * 300
