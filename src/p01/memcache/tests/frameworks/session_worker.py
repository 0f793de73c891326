# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A process that uses one session as fast as it can.

    python session_worker.py ADDRESS NAME SECONDS

It moves money between accounts, whose sum never changes, and counts its
commits in the session and on its standard output: a byte for each.
"""

import logging
import os
import random
import sys
import time

import transaction
import zope.component
from ZODB.POSException import ConflictError

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.session import MemcacheSessionDataContainer
from p01.memcache.tests.frameworks.resource import Resource
from p01.memcache.uclient import UltraMemcacheClient


ACCOUNTS = 'abcdefgh'
SUM = 100 * len(ACCOUNTS)


class Failure(Exception):
    """Another resource has failed."""


def fail():
    raise Failure


def step(container, name):
    """Make a transaction; return whether it was committed."""
    data = container['anna']
    bank = data['bank']
    total = sum(bank.values())
    if total != SUM:
        raise SystemExit(f'the sum is {total}: {dict(bank)}')
    source, target = random.sample(ACCOUNTS, 2)
    bank[source] -= 1
    bank[target] += 1
    data['counters'][name] = data['counters'].get(name, 0) + 1
    fate = random.random()
    if fate < 0.1:
        transaction.abort()
        return False
    if fate < 0.2:
        Resource(tpc_vote=fail)
    try:
        transaction.commit()
    except (ConflictError, Failure):
        transaction.abort()
        return False
    return True


def main(address, name, seconds):
    logging.getLogger('p01.memcache').addHandler(logging.NullHandler())
    client = UltraMemcacheClient([address], timeout=1, delay=0.1)
    zope.component.provideUtility(client, IMemcacheClient)
    container = MemcacheSessionDataContainer()
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        if step(container, name):
            os.write(1, b'+')


if __name__ == '__main__':
    main(*sys.argv[1:])
