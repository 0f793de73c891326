# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that greenlets compute."""

import importlib.util
import os
import subprocess
import sys
import unittest

from p01.memcache.testing import Memcached


GREENLETS = '''
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from p01.memcache.uclient import UltraMemcacheClient

one, other = [UltraMemcacheClient([sys.argv[1]], timeout=5) for _ in 'ab']
calls = []

def factory():
    calls.append(1)
    gevent.sleep(0.05)
    return ['value']

jobs = [gevent.spawn(client.getOrCreate, 'key', factory)
        for client in [one, other] * 20]
gevent.joinall(jobs, timeout=10, raise_error=True)
assert [job.value for job in jobs] == [['value']] * 40
assert len(calls) == 1, calls

# A greenlet's time-out gives the right back.
def slow():
    gevent.sleep(10)

for client in one, other:
    try:
        with gevent.Timeout(0.05):
            client.getOrCreate('slow', slow)
    except gevent.Timeout:
        pass
    else:
        raise AssertionError
with gevent.Timeout(2):
    assert one.getOrCreate('slow', lambda: 1) == 1

# The same with look-ups; a greenlet that is killed gives its right back.
calls.clear()

def look(client):
    with client.lookUp('looked up') as found:
        if not found.isHit:
            value = factory()
            found.store(value)
            return value
        return found.value

jobs = [gevent.spawn(look, client) for client in [one, other] * 20]
gevent.joinall(jobs, timeout=10, raise_error=True)
assert [job.value for job in jobs] == [['value']] * 40
assert len(calls) == 1, calls

def hold():
    with one.lookUp('held'):
        gevent.sleep(10)

job = gevent.spawn(hold)
gevent.sleep(0.05)
job.kill()
with gevent.Timeout(2):
    assert not one.lookUp('held').isHit

# A factory that asks for its own key is detected in each greenlet.
def own():
    return one.getOrCreate('own', own)

try:
    own()
except RuntimeError:
    print('right')
'''


@unittest.skipUnless(importlib.util.find_spec('gevent'), 'without gevent')
class TestGreenlets(unittest.TestCase):

    level = 2
    server = Memcached

    def test_greenlets(self):
        with self.server() as server:
            done = subprocess.run(
                [sys.executable, '-c', GREENLETS, server.address],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))
