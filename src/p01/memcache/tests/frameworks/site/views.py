# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pages of the site: each shows or changes one number.

The number is in the database, the page with it in the cache.
"""

import threading
import time

import memcache
from OFS.Folder import Folder
from persistent.mapping import PersistentMapping
from plone.memoize import ram
from Products.Five import BrowserView
from zope.component import getUtility
from zope.event import notify

from p01.memcache.content import listingName
from p01.memcache.event import InvalidateCacheEvent
from p01.memcache.interfaces import IMemcacheClient


# Seconds after which a change goes on, if nobody has released it.
_LONGEST = 10

_released = threading.Event()


class Numbers(BrowserView):

    def _number(self):
        """Return what holds the number that the request names."""
        numbers = self.context._p_jar.root().setdefault(
            'numbers', PersistentMapping())
        name = self.request.form.get('name', 'one')
        if name not in numbers:
            numbers[name] = PersistentMapping(value=0)
        return name, numbers[name]

    def read(self):
        name, number = self._number()
        compute = self._compute(number)
        # Without a cache, to compare.
        if 'bare' in self.request.form:
            return compute()
        page = getUtility(IMemcacheClient).getOrCreate(
            ('page', name), compute, dependencies=[f'number:{name}'])
        # With what it should be, in this very transaction.
        return f'{page}/{compute()}' if 'compare' in self.request.form else (
            page)

    def late(self):
        """Like `read`, but asks the cache when somebody releases it.

        Until then it has seen the database, and keeps that snapshot.
        """
        _released.clear()
        self._number()[1].values()
        _released.wait(_LONGEST)
        return self.read()

    def _compute(self, number):
        def compute():
            # What makes it worth while to cache it.
            for _ in range(int(self.request.form.get('work', 0))):
                hash(str(number))
            return str(number['value'])
        return compute

    def change(self):
        """Change the number, and invalidate what depends on it.

        With "event", only its page is invalidated. With "hold", the request
        then waits to be released, while others may compute the page. It is
        not committed before that.
        """
        name, number = self._number()
        number['value'] = int(self.request.form['value'])
        if 'event' in self.request.form:
            notify(InvalidateCacheEvent(('page', name)))
        else:
            getUtility(IMemcacheClient).invalidateDependencies(
                f'number:{name}')
        if 'hold' in self.request.form:
            _released.clear()
            _released.wait(_LONGEST)
        return str(number['value'])

    def release(self):
        _released.set()
        return 'released'

    def fail(self):
        """Compute the page from a changed number, and then fail."""
        _, number = self._number()
        number['value'] = int(self.request.form['value'])
        self.read()
        raise RuntimeError('this page fails')


class Contents(BrowserView):
    """The contents of the root: a page that is cached, until an event."""

    def names(self):
        folder = self.context

        def compute():
            return ' '.join(sorted(folder.objectIds('Folder')))

        if 'bare' in self.request.form:
            return compute()
        return getUtility(IMemcacheClient).getOrCreate(
            'names', compute, dependencies=[listingName(folder)])

    def add(self):
        name = self.request.form['name']
        self.context._setObject(name, Folder(name))
        # In the middle of the transaction, as a page does that shows what was
        # done.
        names = self.names()
        if 'fail' in self.request.form:
            raise RuntimeError('this page fails')
        return names

    def remove(self):
        self.context._delObject(self.request.form['name'])
        return self.names()


_calls = []


@ram.cache(lambda function, name: name)
def compute(name):
    """Return how often this was called for a name."""
    _calls.append(name)
    time.sleep(0.3)
    return str(_calls.count(name))


class Memoized(BrowserView):

    def memoized(self):
        return compute(self.request.form['name'])


def choose(function):
    """Return plone.memoize's own adapter, as sites have always done."""
    servers = getUtility(IMemcacheClient).servers
    return ram.MemcacheAdapter(memcache.Client(servers), globalkey=function)
