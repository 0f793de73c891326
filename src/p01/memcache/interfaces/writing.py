# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of writing: values, lifetimes and counters.

Keys are anything that `IMemcacheReader.buildKey` accepts; what it raises,
every method that takes a key raises.
"""

from zope.interface import Interface


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IMemcacheWriter(Interface):
    """Stores, changes and removes single values."""

    def immediate():
        """Return the client that does not wait for transactions.

        It is this client, unless this one is transactional. Use it for locks,
        and for code that joins transactions itself.
        """

    def set(key, data, lifetime=None, raw=False, dependencies=()):
        """Store `data`. Return the built key, or None if it is not stored.

        `lifetime` is a number of seconds, 0 or more, rounded up to whole
        seconds. None is the client's `lifetime`; 0 never expires. memcached
        counts the ticks of its own clock, so a value lives up to a second less
        than its lifetime, and with a lifetime of 1 it may expire at once. Use
        2 or more.

        Above 30 days memcached takes a time of expiry, which is computed from
        the clock of this machine. The lifetime is then off by the difference
        of the two clocks; if this clock is behind by more than the lifetime,
        the value expires at once. memcached counts up to the 19th of January
        2038: a lifetime that ends later, and is not 0, is a ``ValueError``.

        `data` is serialized, see `IMemcacheSettings.serializer`. An object
        that cannot be serialized is a ``SerializationError`` (a
        ``ValueError``). So is a security-proxied object, which would lose its
        proxy, and a persistent object, unless the serializer is an
        `IPersistentSerializer` that takes it; for the serializers of this
        package also as a part of the value. With `raw`, `data` is bytes,
        stored as they are; anything else is a ``ValueError``.

        None means that no server acknowledged the value: `query` may then
        return an older value, or miss. If the value exceeds `maxValueSize`,
        or the server refuses it (larger than its item size, 1 MiB by
        default), an older value is removed.

        `dependencies` are up to 100 str, such as ``('path:/shop', 'user:7')``.
        `invalidateDependencies` of any of them makes the value a miss. Their
        versions are read first, in one round trip, and compared whenever the
        value is read, in one more (one for all values of a `queryMany`). A
        value that was computed before something it depends on was invalidated,
        but is stored after that, counts as new; `getOrCreate` avoids this, as
        it reads the versions before it computes.
        """

    def add(key, data, lifetime=None, raw=False, dependencies=()):
        """Store `data` if the key has no value.

        Returns True if it was stored, False if there is a value, None if the
        outcome is unknown, or the versions of the dependencies cannot be read.
        The arguments are those of `set`.

        `add` may be False where `query` misses: the key may have a value whose
        dependencies were invalidated, a value in its grace period, or the
        claim of a process that computes the value for `getOrCreate`. The claim
        of a process that died lasts ten minutes, that of a transaction a
        minute. `replace`, `append`, `prepend` and `touch` find these, too.

        As a lock it holds for a second less than its lifetime, and only while
        memcached keeps the value. commands.txt shows how to release it, and
        what it cannot guarantee. To compute a value once, use `getOrCreate`.
        """

    def replace(key, data, lifetime=None, raw=False, dependencies=()):
        """Store `data` if the key has a value.

        Returns True if it was stored, False if there is no value, None if the
        outcome is unknown, or the versions of the dependencies cannot be read.
        The arguments are those of `set`.
        """

    def append(key, data):
        """Append bytes to a raw value, which keeps its lifetime.

        Returns True if they were appended, False if there is no value or the
        result is too large for the server, None if the outcome is unknown.
        `data` other than bytes is a ``ValueError``. Appending to a value that
        is serialized, or has dependencies, breaks it; a value that grows
        beyond `maxValueSize` is a miss.
        """

    def prepend(key, data):
        """Put bytes in front of a raw value. Otherwise like `append`."""

    def touch(key, lifetime=None):
        """Give the value a new lifetime, which begins now.

        Returns True if that was done, False if there is no value, None if the
        outcome is unknown. `lifetime` is that of `set`.
        """

    def queryAndTouch(key, lifetime=None, raw=False, default=None):
        """Return the value as `query` does, and give it a new lifetime.

        This is memcached's command ``gat``. With a proxy that does not support
        it, this is always a miss.
        """

    def cas(key, data, token, lifetime=None, raw=False, dependencies=()):
        """Store `data` if the value is still the one that `gets` returned.

        Returns True if it was stored, False if the value has been changed
        since. None means that there is no value any more, that the key has
        moved to another server, or that the outcome is unknown, or the
        versions of the dependencies cannot be read: begin again with `gets`.
        If the server does not support compare-and-swap, it is None, which is
        logged.

        A `token` that did not come from `gets` is a ``ValueError``. One from
        before a restart of the server may match another value, see `gets`. The
        other arguments are those of `set`.
        """

    def increment(key, delta=1, initial=None, lifetime=None):
        """Add `delta` to a counter and return its new value, an int.

        A counter is a raw value of decimal digits: ``query(key, raw=True)``
        reads it, ``set(key, b'5', raw=True)`` sets it. It has 64 bits and
        wraps to 0 after 2 ** 64 - 1.

        A missing counter is set to `initial`, for `lifetime` seconds (see
        `set`), and `initial` is returned. If `initial` is None, the counter
        stays missing and None is returned.

        None is also returned if the value is not a number, or if the outcome
        is unknown. In the latter case the counter is removed: it may be wrong.

        A `delta` or `initial` that is not an int from 0 to 2 ** 64 - 1 is a
        ``ValueError``.
        """

    def decrement(key, delta=1, initial=None, lifetime=None):
        """Subtract `delta` from a counter. Otherwise like `increment`.

        A counter does not go below 0. memcached pads a number that becomes
        shorter with blanks: ``query(key, raw=True)`` may return b'9 '.
        """

    def setMany(mapping, lifetime=None, raw=False, dependencies=()):
        """Store values, and return a list of the keys that are not stored.

        `mapping` maps keys to values. If one key cannot be built, or one value
        cannot be serialized, nothing is sent. Keys that are the same in
        memcached (1 and '1', see `buildKey`) are a ``ValueError``. Otherwise
        each key is treated as by `set`.

        `dependencies` are those of all the values; their versions are read
        once. If they cannot be read, none of the values is stored.

        The pooled client sends to all servers at the same time, in batches of
        up to 500 keys, or 64 KiB (16 KiB over TLS), per server; each batch is
        a round trip. A larger value is a batch of its own.
        """

    def invalidate(key):
        """Remove the value of `key`.

        Returns True if there is no value any more, or never was; None if the
        server could not be reached: the old value may be read until it
        expires.
        """

    def invalidateUnchanged(key, token):
        """Remove the value if it is still the one that `gets` returned.

        Returns True if there is no value any more: it was removed, or was gone
        before. False means that the value has been changed since, and stays.
        None means that the key has moved to another server, that the server
        does not support compare-and-swap, which is logged, or that the outcome
        is unknown: the value, whichever it is, is then removed before this
        client reads it.

        The `token` is as for `cas`.
        """

    def invalidateMany(keys):
        """Remove values, and return a list of the keys that are not removed.

        These are the keys whose server could not be reached, see `invalidate`.
        A single str is a ``TypeError``. It sends batches as `setMany` does.
        """

    def invalidateDependencies(*dependencies):
        """Make every value that depends on one of these a miss, at once.

        The cost does not depend on the number of values. Dependencies belong
        to the client's namespace. Returns True, or None if a server could not
        be reached. A dependency that is not a str is a ``TypeError``.
        """

    def getOrCreate(key, factory, lifetime=None, grace=None, dependencies=()):
        """Return the value of `key`; on a miss, the result of ``factory()``.

        The result is serialized and stored, for `lifetime` seconds (see
        `set`). One caller computes it, among all threads of all processes that
        share the cache, and the others wait for it. A caller that has waited
        for the client's `timeout` computes it as well, and the first result is
        stored. The caller that computed gets the object that the factory
        returned, all others get a copy.

        Finding the value, or waiting for it, takes one `timeout` at most. The
        factory takes as long as it takes. Storing the result, or giving up the
        lease, may take one more `timeout`.

        `grace` is a number of seconds after the lifetime. During these, the
        callers that pass a `grace` get the former value at once, while one of
        them computes a new one; for all other callers it is a miss. With a
        lifetime of 0, `grace` has no effect.

        To memcached 1.6 a value is due for renewal if it has less than the
        caller's `grace` left to live. So always use the same `grace` for a
        key; another one renews too early or too late. memcached counts whole
        seconds: the renewal may begin about a second after `query` misses.

        An exception of the factory is raised to its caller, and the next
        caller may compute. A process that dies while it computes delays the
        others by the `timeout`. If the key, or a dependency, was invalidated
        while the value was computed, the value is returned to the caller of
        the factory and not stored. The same holds for a computation of more
        than ten minutes, or longer than the grace of the value that it renews.
        `dependencies` are those of `set`, with the versions from before the
        factory was called.

        Without a server that answers, one thread of the process computes at a
        time, and the threads that wait for it get its result.

        A factory that asks for its own key is a ``RuntimeError``, one that
        cannot be called is a ``TypeError``, and a value that cannot be
        serialized is a ``SerializationError``. A value that exceeds
        `maxValueSize` is returned and not stored, so every caller computes it.

        The right to compute is a lease. For a missing value it is a claim,
        added in place of the value. To renew a value, memcached 1.6 lends it
        with its meta commands; older servers and proxies use a claim for this,
        too. The client detects once for each server which of the two it is. A
        lease that is not given up ends by itself: after ten minutes for a
        missing value, after a minute for a renewal. It also ends when
        memcached restarts: a value that was stored after that is kept.

        A server that does not support compare-and-swap lends nothing, which is
        logged once. One thread of each process then computes, and its result
        is stored whatever has happened since.
        """

    def lookUp(key, lifetime=None, grace=None, dependencies=()):
        """Look for the value of `key` as `getOrCreate` does; return an
        `ILookUp`.

        It is a hit, or holds the right to compute the value: the caller does
        that by itself, and stores the result. So it is for callers that
        cannot pass a factory. Until it ends, others wait for it as they wait
        for a factory. The versions of the dependencies are those from before
        it is returned.

        A look-up of a key that the same thread has looked up, and computes,
        is a ``RuntimeError``. All else is as with `getOrCreate`.
        """

    def getOrCreateMany(
            keys, factory, lifetime=None, grace=None, dependencies=()):
        """Return a dict of values; the factory computes those that miss.

        `keys` is as for `queryMany`. Each key is treated as by `getOrCreate`,
        but there is one call of ``factory(keys)`` for all that this caller has
        the right to compute. It gets a list of them and returns a mapping. A
        key that it leaves out is not stored, and not in the returned dict.

        - Values are read as by `queryMany`. For missing keys a pooled client
          asks all servers that have the meta commands for the rights at the
          same time, as `setMany` does; others are asked for one key after the
          other. All that takes one `timeout` at most. Results are stored
          together, within one more (with a `grace` one after the other).

        - A value that another caller computes is waited for, but only after
          this caller has computed its own, for up to one more `timeout`. So
          two callers never wait for each other. If it does not come, or its
          caller has given up, this one computes it: the factory is called
          again, with such keys.

        - With a `grace`, the same call renews values that are stale. Those
          that others renew are returned at once.

        - If the factory raises an exception, it is raised, and all rights are
          given back. So they are if it returns no mapping (a ``TypeError``),
          or a key that it was not asked for (a ``ValueError``), and if a value
          cannot be serialized; the values before that one may be stored.

        - Without a server, it computes what no other thread of the process
          does. With one server of many, this holds for the keys of that one.

        Keys that are the same in memcached (1 and '1') are a ``ValueError``.
        `dependencies` are those of all the values.
        """
