# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A store: what the operations and features of a client need of a cache.

`IStore` is the seam: the cluster of the pooled client, the hosts of the
classic one, and the servers of the fakes are stores. A further engine goes in
here, see `Store`.
"""

import contextlib

from zope.interface import Interface

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerError


_UNKNOWN = MemcacheError('the outcome is unknown')


class IStore(Interface):
    """Values as bytes, under keys as bytes, on one server or many.

    A deadline is a moment of ``time.monotonic``. A method that fails raises
    a `MemcacheError`, at the deadline at the latest.
    """

    def get(key, deadline, most):
        """Return the `Item` of the key, or None.

        A value of more than `most` bytes is not received: its data is an
        `Announced`.
        """

    def gets(key, deadline, most):
        """Do the same; the item has its token, see `p01.memcache.wire.cas`.
        """

    def get_many(keys, deadline, most):
        """Return a dict of the keys and items that exist, and a list of
        errors: the keys of a server that fails are missing.
        """

    def run(command, deadline):
        """Return the reply to a `Command`.

        That is None for a command that is for one server only, where this is
        not the server of its key. A key whose change may or may not have
        happened is owed, see `owe`.
        """

    def run_many(commands, deadline):
        """Run a list of commands, each of another key.

        Returns a dict of the keys and their replies, or the `MemcacheError`.
        """

    def ask_all(command, deadline):
        """Run a command on each server.

        Returns a list of each server's address and its reply or
        `MemcacheError`.
        """

    def server(key, deadline):
        """Return the server of the key.

        It has a ``name``, as in a token, and ``run(command, deadline)`` as
        above. ``lends(deadline)`` returns whether it lends the right to
        compute a value, by meta commands, and ``forget_meta()`` has it asked
        anew. ``is_leased(key, deadline)`` returns whether an empty value is a
        claim, or None where that is not known.
        """

    def owe(key):
        """Have the key removed before this process reads it again.

        A store that remembers nothing does nothing.
        """

    def owe_absent(key, deadline):
        """Do so on the servers for which another one stands in, if any."""

    def close():
        """Close the connections that are idle. The store can still be used.
        """


class Store:
    """The rule of what is not certain, once for all stores.

    A store inherits it and implements `_ask`, `_ask_many` and `_remove`, and
    the rest of `IStore`.
    """

    def _ask(self, server, command, deadline):
        """Return the server's reply."""
        raise NotImplementedError

    def _ask_many(self, commands, replies, deadline):
        """Put a reply or `MemcacheError` for each key into `replies`.

        Returns a dict of the errors of keys of which nothing is owed.
        """
        raise NotImplementedError

    def _remove(self, keys, deadline):
        """Remove keys whose server refused a new value."""
        raise NotImplementedError

    def _change(self, server, command, deadline):
        """Run a command on the server of its key."""
        try:
            return self._ask(server, command, deadline)
        except LeaseLost:
            raise  # nothing was sent
        except BaseException as error:
            self.owe(command.key)
            if isinstance(error, ServerError):
                # The old value must not stand as if it had been replaced,
                # not for other processes either.
                self._remove([command.key], deadline)
            raise

    def run_many(self, commands, deadline):
        replies = {}
        try:
            absent = self._ask_many(commands, replies, deadline)
        finally:
            lost = [command.key for command in commands if isinstance(
                replies.get(command.key, _UNKNOWN), MemcacheError)]
            for key in lost:
                self.owe(key)
        refused = [
            key for key in lost if isinstance(replies[key], ServerError)]
        if refused:
            with contextlib.suppress(MemcacheError):
                self._remove(refused, deadline)
        return {**replies, **absent}
