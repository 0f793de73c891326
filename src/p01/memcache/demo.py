# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A small shop with a cache: the package's main job, seen from a site.

It loads a ZCML file, looks the client up like every application, and uses it
from a number of threads. Its values are JSON: the server on the standard port
may belong to anyone, and a pickle from there could run code.
"""

import argparse
import contextlib
import random
import re
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time

import zope.component
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from zope.configuration import xmlconfig

from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.log import printable
from p01.memcache.testing import Memcached
from p01.memcache.testing import connect
from p01.memcache.transport.address import parse


STANDARD = '127.0.0.1:11211'

ZCML = '''\
<configure xmlns:p01="http://namespaces.zope.org/p01"
           xmlns="http://namespaces.zope.org/zope">

  <include package="p01.memcache" file="meta.zcml" />
  <include package="p01.memcache" />

  <p01:memcache
      name=""
      servers="{servers}"
      namespace="{namespace}"
      serializer="json"
      lifetime="600"
      maxPoolSize="50"
      />

</configure>
'''

# The number of pages of the shop. A page is made when it is first read.
PAGES = 2000

NUMBER = re.compile('[0-9]{1,20}')


def listens(address):
    try:
        connect(address, 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def find_server(address):
    """Yield the address of a server, and a remark about it."""
    if address is not None:
        if not listens(address):
            sys.exit(f'demo: nothing listens on {address}.')
        yield address, 'as given by --server'
    elif listens(STANDARD):
        yield STANDARD, 'which was running already'
    elif shutil.which('memcached'):
        with Memcached() as server:
            yield server.address, 'a memcached that this demo has started'
    else:
        with EmbeddedServer() as server:
            yield server.address, (
                'the embedded server, as no memcached is installed')


def load_zcml(servers):
    """Configure the package as an application does; return the ZCML."""
    # A namespace of its own: the server may have other users.
    text = ZCML.format(
        servers=servers, namespace=f'demo-{secrets.token_hex(4)}-')
    with tempfile.NamedTemporaryFile('w', suffix='.zcml') as file:
        file.write(text)
        file.flush()
        xmlconfig.file(file.name)
    return text


class Visitor(threading.Thread):
    """Reads pages at random; now and then a page changes."""

    def __init__(self, number, operations):
        super().__init__(daemon=True)
        self.random = random.Random(number)
        self.operations = operations
        self.counts = dict.fromkeys(
            ('operations', 'hits', 'misses', 'wrong', 'not stored'), 0)

    def count(self, name):
        self.counts[name] += 1

    def run(self):
        cache = zope.component.getUtility(IMemcacheClient)
        while self.counts['operations'] < self.operations:
            self.visit(cache, self.random.randrange(PAGES))

    def visit(self, cache, number):
        key = f'page-{number}'
        made = {'number': number, 'title': f'Page {number}',
                'prices': list(range(number % 50))}
        page = cache.query(key)
        self.count('operations')
        if page is None:
            self.count('misses')
            stored = cache.set(key, made)
            self.count('operations')
            if stored is None:
                self.count('not stored')
        elif page == made:
            self.count('hits')
        else:
            self.count('wrong')
        if self.random.random() < 0.02:
            cache.invalidate(key)
            self.count('operations')


def visit(threads, operations):
    """Run the visitors; return their counts, and the elapsed seconds."""
    share, rest = divmod(operations, threads)
    visitors = [Visitor(number, share + (number < rest))
                for number in range(threads)]

    def total(name):
        return sum(visitor.counts[name] for visitor in visitors)

    with logging_redirect_tqdm(), tqdm(
            total=operations, unit='op', unit_scale=True,
            desc=f'{threads} threads') as bar:
        start = time.perf_counter()
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            while True:
                visitor.join(0.1)
                bar.update(min(total('operations'), operations) - bar.n)
                if not visitor.is_alive():
                    break
        seconds = time.perf_counter() - start
    return {name: total(name) for name in visitors[0].counts}, seconds


def show(counts, seconds, client):
    rows = list(counts.items())
    rows.append(('per second', round(counts['operations'] / seconds)))
    for server, numbers in client.getPools():
        rows.append((f'connections opened to {server}', numbers['opened']))
    for server, statistics in client.getStatistics():
        for name in ('error', 'version', 'uptime', 'curr_connections',
                     'curr_items', 'get_hits', 'get_misses', 'cmd_set'):
            if name in statistics:
                value = statistics[name]
                # The server may be anyone's, and send anything.
                rows.append((f'{server} says {name}',
                             int(value) if NUMBER.fullmatch(value)
                             else printable(value)))
    width = max(len(name) for name, value in rows)
    for name, value in rows:
        if isinstance(value, int):
            value = f'{value:,}'
        print(f'{name:{width}}  {value:>12}')


def positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f'{text!r}: must be a whole number, 1 or more')
    return int(text)


def address(text):
    try:
        parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def main():
    parser = argparse.ArgumentParser(
        prog='demo', description='Cache pages from a number of threads.')
    parser.add_argument(
        '--server', type=address, metavar='HOST:PORT',
        help='a running memcached; the default is the server on'
             f' {STANDARD}, or one that the demo starts')
    parser.add_argument(
        '--threads', type=positive, default=20, help='default: %(default)s')
    parser.add_argument(
        '--operations', type=positive, default=100_000,
        help='approximately, in all threads; default: %(default)s')
    options = parser.parse_args()
    # So that `kill` also stops a server that the demo has started.
    signal.signal(signal.SIGTERM, lambda *args: sys.exit('demo: terminated.'))
    with find_server(options.server) as (server, remark):
        print(f'The server is {server}, {remark}.')
        print('The application is configured by this ZCML:\n')
        print(load_zcml(server))
        client = zope.component.getUtility(IMemcacheClient)
        try:
            counts, seconds = visit(options.threads, options.operations)
            print()
            show(counts, seconds, client)
        except KeyboardInterrupt:
            sys.exit('demo: interrupted.')
        finally:
            client.close()
    if counts['wrong'] or counts['not stored'] > counts['operations'] // 100:
        sys.exit('demo: the cache did not do its job, see above.')
