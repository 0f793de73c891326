# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""`lookUp` and `getOrCreateMany` compute as `getOrCreate` does.

So all of its tests are run for these.
"""

from unittest import mock

from p01.memcache.facade.creating import Creating
from p01.memcache.tests.contract import test_computing
from p01.memcache.tests.support.layers import Contract
from p01.memcache.tests.support.layers import run_in


load_tests = run_in(Contract)


def by_look_up(client, key, factory, lifetime=None, grace=None,
               dependencies=()):
    """Like `getOrCreate`, split in two."""
    if not callable(factory):
        raise TypeError('factory')
    with client.lookUp(key, lifetime, grace, dependencies) as found:
        if found.isHit:
            return found.value
        value = factory()
        found.store(value)
        return value


def without_with(client, key, factory, *args, **kw):
    """The same, by a caller that ends it by itself."""
    if not callable(factory):
        raise TypeError('factory')
    found = client.lookUp(key, *args, **kw)
    if found.isHit:
        return found.value
    try:
        value = factory()
    except BaseException:
        found.release()
        raise
    found.store(value)
    return value


def by_many(client, key, factory, *args, **kw):
    if not callable(factory):
        raise TypeError('factory')
    try:
        [value] = client.getOrCreateMany(
            [key], lambda keys: dict.fromkeys(keys, factory()), *args, **kw
        ).values()
    except TypeError as error:
        if 'cannot be in a dict' not in str(error):
            raise
        raise ValueError('no key') from error
    return value


class Split:
    """The client's `getOrCreate` is something else."""

    way = None

    def setUp(self):
        self.enterContext(
            mock.patch.object(Creating, 'getOrCreate', type(self).way))
        super().setUp()


class Many(Split):

    way = by_many

    # There is more time for what others compute.
    test_dependencies_are_read_within_the_same_deadline = None

    # Each of them looks twice, before it waits.
    test_waiting_callers_poll_sparingly = None

    # Of those that come later, one may have a hit at its first look.
    test_invalidated_while_it_is_renewed = None


class LookUpTest(Split, test_computing.TestMeta):

    way = by_look_up


class WithoutWithTest(Split, test_computing.TestMeta):

    way = without_with
    level = 2


class ManyTest(Many, test_computing.TestMeta):
    pass


class LookUpClaimsTest(Split, test_computing.TestClaims):

    way = by_look_up


class ManyClaimsTest(Many, test_computing.TestClaims):
    pass


class LookUpFakeTest(Split, test_computing.TestFakeMemcacheClient):

    way = by_look_up


class ManyFakeTest(Many, test_computing.TestFakeMemcacheClient):
    pass


class LookUpMemcachedTest(Split, test_computing.TestMetaOnMemcached):

    way = by_look_up


class ManyMemcachedTest(Many, test_computing.TestMetaOnMemcached):
    pass


class LookUpClassicTest(Split, test_computing.TestMemcacheClient):

    way = by_look_up


class ManyClassicTest(Many, test_computing.TestMemcacheClient):
    pass


class LookUpTroubleTest(Split, test_computing.TestTrouble):

    way = by_look_up


class ManyTroubleTest(Many, test_computing.TestTrouble):
    pass


class LookUpLiesTest(Split, test_computing.TestLies):

    way = by_look_up


class ManyLiesTest(Many, test_computing.TestLies):
    pass
