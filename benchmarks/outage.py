# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a site sees when one of three memcached is killed, and then frozen.

Eight threads write and read without a pause. Each value contains its key and a
version, so a wrong or a stale one is detected. It starts its own memcached;
run it with  bin/py benchmarks/outage.py
"""

import argparse
import logging
import threading
import time

from p01.memcache.testing import Memcached
from p01.memcache.uclient import UltraMemcacheClient


THREADS = 8
KEYS = 101  # of each thread; not a multiple of five, as every fifth is set


class Counts:

    def __init__(self):
        self.operations = self.reads = self.right = 0
        self.wrong = self.stale = 0
        self.longest = 0.0


class Site:
    """Threads that set and query; ``counts`` is that of the current phase."""

    def __init__(self, client):
        self._client = client
        self._ended = threading.Event()
        self._counts = [Counts() for _ in range(THREADS)]
        self._threads = [
            threading.Thread(target=self._work, args=(number,))
            for number in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def phase(self, seconds):
        """Return the counts of that many seconds."""
        self._counts = counts = [Counts() for _ in range(THREADS)]
        time.sleep(seconds)
        self._counts = [Counts() for _ in range(THREADS)]
        return counts

    def end(self):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number):
        version = 0
        written = {}  # the last version that was tried
        while not self._ended.is_set():
            counts = self._counts[number]
            version += 1
            key = f'{number}-{version % KEYS}'
            if version % 5:
                value = self._timed(counts, self._client.query, key)
                counts.reads += 1
                if value is None:
                    continue
                if value[0] != key:
                    counts.wrong += 1
                elif value[1] < written.get(key, 0):
                    counts.stale += 1
                else:
                    counts.right += 1
            else:
                written[key] = version
                self._timed(counts, self._client.set, key, (key, version))

    def _timed(self, counts, function, *args):
        start = time.monotonic()
        try:
            return function(*args)
        finally:
            counts.operations += 1
            counts.longest = max(counts.longest, time.monotonic() - start)


def report(name, seconds, counts):
    def total(attribute):
        return sum(getattr(each, attribute) for each in counts)

    print('{:16} {:9,.0f} ops/s  {:6.1%} right  {} wrong  {} stale'
          '  longest {:5.0f} ms'.format(
              name, total('operations') / seconds,
              total('right') / max(total('reads'), 1), total('wrong'),
              total('stale'),
              max(each.longest for each in counts) * 1000))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seconds', type=float, default=5,
                        help='of each phase (default: 5)')
    parser.add_argument('--timeout', type=float, default=0.5)
    parser.add_argument('--failover', action='store_true')
    options = parser.parse_args()
    logging.basicConfig(format='    %(message)s')
    with Memcached() as one, Memcached() as two, Memcached() as three:
        client = UltraMemcacheClient(
            [one.address, two.address, three.address],
            timeout=options.timeout, blacktime=1, delay=1,
            failover=options.failover)
        site = Site(client)

        def phase(name, change=None):
            if change is not None:
                # The moment of the change belongs to the phase.
                threading.Timer(0.1, change).start()
            report(name, options.seconds, site.phase(options.seconds))

        try:
            phase('warming up')
            phase('before')
            phase('one is killed', two.stop)
            phase('it is back', two.start)
            phase('one is frozen', three.freeze)
            phase('it goes on', three.thaw)
        finally:
            site.end()
            client.close()


if __name__ == '__main__':
    main()
