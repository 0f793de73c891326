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


COUNTS = '''
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from gevent.server import StreamServer
from p01.memcache.uclient import UltraMemcacheClient

client = UltraMemcacheClient([sys.argv[1]], timeout=5)
client.set('key', 1)

def use():
    for _ in range(50):
        client.query('key')
        client.query('missing')
        client.getOrCreate('computed', lambda: gevent.sleep(0.05) or 'value')

gevent.joinall(
    [gevent.spawn(use) for _ in range(20)], timeout=30, raise_error=True)
counts = client.getCounts()
assert counts['hits'] + counts['misses'] == 3000, counts
assert (counts['computed'], counts['stored']) == (1, 2), counts
assert counts['misses'] == 1000 + 1 + counts['waited'], counts
assert counts['seconds']['query']['count'] == 2000, counts
assert counts['seconds']['getOrCreate']['count'] == 1000, counts
# What a factory, and other greenlets meanwhile, take is nobody's.
assert counts['seconds']['getOrCreate']['sum'] < 30 * 0.05 + 1, counts

# Each greenlet has waited for something else.
def answer(sock, address):
    while data := sock.recv(4096):
        gevent.sleep(0.3 if first_key in data else 0.01)
        sock.sendall(b'END\\r\\n')

server = StreamServer(('127.0.0.1', 0), answer)
server.start()
client = UltraMemcacheClient(
    ['127.0.0.1:%d' % server.server_port], timeout=5, maxPoolSize=1, slow=0.1)
first_key = client.buildKey('first').encode()
client.query('first')
first = gevent.spawn(client.query, 'first')
gevent.sleep(0.02)
second = gevent.spawn(client.query, 'second')
gevent.joinall([first, second], raise_error=True)
phases = {one['key']: one['phase'] for one in client.getSlowest()}
assert client.getCounts()['slow'] == 3
print(phases[client.buildKey('first')], phases[client.buildKey('second')])
'''


@unittest.skipUnless(importlib.util.find_spec('gevent'), 'without gevent')
class TestGreenlets(unittest.TestCase):

    level = 2
    server = Memcached

    def run_script(self, script):
        with self.server() as server:
            return subprocess.run(
                [sys.executable, '-c', script, server.address],
                env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)},
                capture_output=True, text=True, timeout=60)

    def test_greenlets(self):
        done = self.run_script(GREENLETS)
        self.assertEqual((done.stdout, done.stderr), ('right\n', ''))

    def test_counts(self):
        done = self.run_script(COUNTS)
        self.assertEqual(done.stdout, 'receive pool\n', done.stderr)
