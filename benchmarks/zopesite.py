# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Requests a second of a Zope, with a cache, without, and while it fails.

A Zope of four threads is served by waitress. 16 browsers read pages of some
milliseconds of work as fast as they can, while an editor changes one every
50 ms. Its memcached is frozen, thawed, killed and restarted. One line for each
phase shows how many requests were answered, and how long these took. Run it
with  bin/py-zope benchmarks/zopesite.py
"""

import argparse
import statistics
import tempfile
import time

from p01.memcache.testing import Memcached
from p01.memcache.tests.frameworks.visitors import Visitors
from p01.memcache.tests.frameworks.zopeprocess import Zope


# As zope.txt recommends.
SITE = '''
    <p01:memcache servers="{address}" {attributes}
        timeout="0.5" delay="1" blacktime="10" maxPoolSize="5" />'''

# Until then it may stay unused after it was marked down.
BLACK_TIME = 10

SECONDS = 5
WARM_UP = 1


def measure(visitors, title, happen=lambda: None):
    """Print what the visitors see after something has happened."""
    start = time.monotonic()
    happen()
    end = start + SECONDS
    time.sleep(end - time.monotonic())
    answers = visitors.between(start, end)
    print(f'{title:24} {len(answers) / SECONDS:8.0f}'
          f' {1000 * statistics.median(answers):10.1f}'
          f' {1000 * max(answers):10.0f}', flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--work', type=int, default=50_000,
        help='how much work a page is; 50,000 is about 10 ms')
    parser.add_argument(
        '--plain', action='store_true', help='without transactional="true"')
    options = parser.parse_args()
    attributes = '' if options.plain else 'transactional="true"'
    print(f'{"":24} {"requests":>8} {"median":>10} {"longest":>10}')
    print(f'{"":24} {"a second":>8} {"ms":>10} {"ms":>10}')
    with (Memcached() as server,
          tempfile.TemporaryDirectory() as folder,
          Zope(folder, SITE.format(
              address=server.address, attributes=attributes)) as zope):
        with Visitors(zope, work=options.work, bare=1) as visitors:
            time.sleep(WARM_UP)
            measure(visitors, 'no cache')
        with Visitors(zope, work=options.work) as visitors:
            time.sleep(WARM_UP)
            measure(visitors, 'cache')
            measure(visitors, 'memcached is frozen', server.freeze)
            measure(visitors, 'memcached is thawed', server.thaw)
            measure(visitors, 'memcached is killed', server.stop)
            measure(visitors, 'memcached is restarted', server.start)
            time.sleep(BLACK_TIME)
            measure(visitors, 'later')
    for what in 'errors', 'stale':
        print(f'{what}: {len(getattr(visitors, what))}')


if __name__ == '__main__':
    main()
