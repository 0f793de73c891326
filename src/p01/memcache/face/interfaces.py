# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What of python-memcached's ``memcache.Client`` the look-alike has."""

from zope.interface import Attribute
from zope.interface import Interface


class IFace(Interface):
    """The methods of python-memcached's ``memcache.Client``.

    Arguments and return values are those of python-memcached 1.62. What is
    different:

    - A key is checked as python-memcached does it, and then built like every
      key of the client: with its namespace and key scheme. So on the wire it
      is not the key of python-memcached, and the two do not share values.
      Text and its UTF-8 are the same key. The number in a key
      ``(number, key)``, which chooses a server there, is ignored.

    - A value is serialized by the client. What it refuses, such as a
      persistent object, is a ``SerializationError``.

    - Of the other arguments of the constructor `cache_cas` alone has an
      effect. Those that change how values or keys are made do not exist.

    - `min_compress_len` has no effect: see `IMemcacheSettings.compress`. Nor
      has `noreply`: every reply is read.

    - Trouble with a server is handled by the client. Here it is the result
      that python-memcached has for a server that is dead.

    `time` is a number of seconds, or a timedelta; more than 30 days are a
    unix time, 0 never expires, and a time that has passed expires at once.
    """

    client = Attribute(
        'The `IMemcacheClient` that does the work: the one that was passed as '
        '`servers`; or the utility with the given `name`; or for a list of '
        'addresses, as python-memcached takes it, the utility that has these '
        'servers. If there is none, all that list the same servers share a '
        'pooled client with the default settings.')

    cache_cas = Attribute(
        'Whether `gets` keeps its tokens for `cas`. They belong to the '
        'thread, and are kept until `reset_cas`.')

    MemcachedKeyError = Attribute(
        'The base class of the errors of wrong keys, a ``ValueError``. There '
        'are ``MemcachedKeyNoneError``, ``MemcachedKeyTypeError``, '
        '``MemcachedKeyLengthError`` and ``MemcachedKeyCharacterError``.')

    def get(key, default=None):
        """Return the value, or `default`."""

    def get_multi(keys, key_prefix=''):
        """Return a dict of the keys, without the prefix, that have a value.

        Here a number is a key, too.
        """

    def gets(key):
        """Return the value, or None, and keep its token if `cache_cas` is on.
        """

    def set(key, val, time=0, min_compress_len=0, noreply=False):
        """Store the value. Return True, or 0 if it is not stored."""

    def add(key, val, time=0, min_compress_len=0, noreply=False):
        """Store the value if there is none. Return True, False, or 0."""

    def replace(key, val, time=0, min_compress_len=0, noreply=False):
        """Store the value if there is one. Return True, False, or 0."""

    def cas(key, val, time=0, min_compress_len=0, noreply=False):
        """Store the value if it is still that of `gets`.

        Returns True, False, or 0. Without a token of `gets` it is `set`.
        """

    def set_multi(mapping, time=0, key_prefix='', min_compress_len=0,
                  noreply=False):
        """Store values. Return a list of the keys that are not stored."""

    def delete(key, noreply=False):
        """Remove the value. Return 1, or 0 if there was none.

        This takes two round trips: the client's `invalidate` does not tell.
        """

    def delete_multi(keys, time=None, key_prefix='', noreply=False):
        """Remove values. Return 1, or 0 if a server could not be reached."""

    def touch(key, time=0, noreply=False):
        """Give the value a new lifetime. Return 1, or 0 if there is none."""

    def incr(key, delta=1, noreply=False):
        """Add to a number, or text of digits, and return the new number.

        None if there is no value. Text that becomes shorter is not padded
        with blanks, as memcached does it. A value that is no number is a
        ``ValueError``. It is done by compare-and-swap, so nothing is lost,
        in two round trips. The number keeps the time until which it was set;
        that of a `touch` is not known.
        """

    def decr(key, delta=1, noreply=False):
        """Subtract, down to 0. Otherwise like `incr`."""

    def get_stats(stat_args=None):
        """Return a list of ``(server, {name: value})``, all of them str.

        It is empty if `stat_args` is no name that
        `IMemcacheStatistics.getStatistics` takes, such as "reset".
        """

    def flush_all():
        """Remove all values of all namespaces from the servers."""

    def reset_cas():
        """Forget the tokens of this thread."""

    def disconnect_all():
        """Close the connections that are not in use."""

    def forget_dead_hosts():
        """Do nothing: the client knows when to try a server again."""

    def debuglog(str):
        """Write a line to the log "p01.memcache", of the level DEBUG."""
