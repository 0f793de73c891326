# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The look-alike's operations on values."""

import time as clock
from datetime import timedelta

from p01.memcache.face import numbers
from p01.memcache.face.keys import check
from p01.memcache.face.keys import check_all


# memcached takes a larger number for a unix time.
_RELATIVE = 60 * 60 * 24 * 30

# Each attempt to count that fails is one of another client that succeeds.
_ATTEMPTS = 1000


class Values:
    """See `IFace`. A subclass has ``client`` and ``cache_cas``."""

    # Reading

    def get(self, key, default=None):
        return numbers.bare(
            self.client.query(check(key), default=default))

    def get_multi(self, keys, key_prefix=''):
        wanted = check_all(keys, key_prefix)
        return {wanted[key]: numbers.bare(value)
                for key, value in self.client.queryMany(wanted).items()}

    def gets(self, key):
        key = check(key)
        value, token = self.client.gets(key)
        if token is not None and self.cache_cas:
            self._tokens[key] = token
        return numbers.bare(value)

    def reset_cas(self):
        self._tokens = {}

    # Storing

    def set(self, key, val, time=0, min_compress_len=0, noreply=False):
        return self._store(self.client.set, key, val, time)

    def add(self, key, val, time=0, min_compress_len=0, noreply=False):
        return self._store(self.client.add, key, val, time)

    def replace(self, key, val, time=0, min_compress_len=0, noreply=False):
        return self._store(self.client.replace, key, val, time)

    def cas(self, key, val, time=0, min_compress_len=0, noreply=False):
        token = self._tokens.get(check(key))
        if token is None:
            return self.set(key, val, time)
        return self._store(self.client.cas, key, val, time, token)

    def _store(self, method, key, val, time, *token):
        key, lifetime = check(key), _lifetime(time)
        done = method(
            key, numbers.kept(val, lifetime), *token,
            lifetime=abs(lifetime))
        if done and lifetime < 0:
            self.client.invalidate(key)
        return 0 if done is None else bool(done)

    def set_multi(self, mapping, time=0, key_prefix='', min_compress_len=0,
                  noreply=False):
        wanted, lifetime = check_all(mapping, key_prefix), _lifetime(time)
        failed = self.client.setMany(
            {key: numbers.kept(mapping[name], lifetime)
             for key, name in wanted.items()}, abs(lifetime))
        if lifetime < 0:
            self.client.invalidateMany(wanted)
        return [wanted[key] for key in failed]

    def touch(self, key, time=0, noreply=False):
        key, lifetime = check(key), _lifetime(time)
        done = self.client.touch(key, abs(lifetime))
        if done and lifetime < 0:
            self.client.invalidate(key)
        return int(bool(done))

    # Removing

    def delete(self, key, noreply=False):
        key = check(key)
        # The shortest lifetime: it does no harm if what follows fails.
        existed = self.client.touch(key, 1)
        return int(bool(self.client.invalidate(key) and existed))

    def delete_multi(self, keys, time=None, key_prefix='', noreply=False):
        return int(not self.client.invalidateMany(
            check_all(keys, key_prefix)))

    # Counting

    def incr(self, key, delta=1, noreply=False):
        return self._count(key, delta, lambda old: (old + delta) % 2 ** 64)

    def decr(self, key, delta=1, noreply=False):
        return self._count(key, delta, lambda old: max(old - delta, 0))

    def _count(self, key, delta, change):
        key, client = check(key), self.client
        if not numbers.is_number(delta):
            raise ValueError(
                f'delta {delta!r}: must be a whole number, 0 or more')
        for _ in range(_ATTEMPTS):
            stored, token = client.gets(key)
            if token is None:
                return None
            new, number, lifetime = numbers.changed(stored, change)
            done = client.cas(key, new, token, lifetime)
            if done is not False:
                return number if done else None
        return None


def _lifetime(time):
    """Return the seconds until memcached's `time`; -1 if it has passed."""
    if isinstance(time, timedelta):
        time = int(time.total_seconds())
    if time > _RELATIVE:
        time = time - int(clock.time()) or -1
    return max(time, -1)
