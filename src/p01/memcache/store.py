# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The store: all that the operations of a client need from a cache.

`IStore` is the seam between the two. The cluster of the pooled client, the
hosts of the classic one and the servers of the fakes implement it, with
`Store` as their base class. So would another engine.
"""

import contextlib
import time

from zope.interface import Attribute
from zope.interface import Interface

from p01.memcache.errors import LeaseLost
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerError
from p01.memcache.wire.command import Add
from p01.memcache.wire.command import Cas


_UNKNOWN = MemcacheError('the outcome is unknown')


def has_errors(replies):
    """Return whether any value of the dict is a `MemcacheError`."""
    return any(issubclass(kind, MemcacheError)
               for kind in set(map(type, replies.values())))


def first_of(errors):
    """Return the first of the errors, to be raised, and empty the list.

    A frame that refers to the error that it raises would be kept alive, with
    all that its callers have, until the garbage collector runs.
    """
    error = errors[0]
    errors.clear()
    return error


def turns(servers, deadline, pause):
    """Yield the servers that are asked at the same time, and until when.

    See `IStore.ask_all`.
    """
    if not pause:
        yield servers, deadline
        return
    seconds = deadline - time.monotonic()
    for number, server in enumerate(servers):
        if number:
            time.sleep(pause)
        yield [server], time.monotonic() + seconds


def _is_lost(reply):
    """Return whether it is not known what a change has done."""
    # Of the latter, nothing was sent.
    return isinstance(reply, MemcacheError) and not isinstance(
        reply, LeaseLost)


class IStore(Interface):
    """Values as bytes, under keys as bytes, on one server or many.

    A deadline is a moment of ``time.monotonic``. A method that fails raises
    a `MemcacheError`, at the deadline at the latest.
    """

    lineage = Attribute(
        'An object that stands for this store, and for those that it has '
        'replaced when settings changed.')

    def get(key, deadline, most):
        """Return the `Item` of the key, or None.

        A value of more than `most` bytes is not received: its data is an
        `Announced`.
        """

    def gets(key, deadline, most):
        """Like `get`; the item has its token, see `p01.memcache.wire.cas`.
        """

    def get_many(keys, deadline, most):
        """Return a dict of keys and their items, and a list of errors.

        Keys without an item, and those of a server that failed, are missing
        from the dict.
        """

    def run(command, deadline):
        """Return the reply to a `Command`.

        It is None if the command is for one server only (``only_at``) and its
        key belongs to another. The key of a change whose outcome is unknown
        is owed, see `owe`.
        """

    def run_many(commands, deadline):
        """Run a list of commands; no two of them have the same key.

        Returns a dict of the keys, and the reply or `MemcacheError` of each.
        """

    def ask_all(command, deadline, pause=0):
        """Run a command on each server.

        Returns a list of pairs: the server's address, and its reply or
        `MemcacheError`. With a `pause` they are asked one after the other, so
        many seconds apart, and each has the time until the deadline anew.
        """

    def server(key, deadline):
        """Return the server of the key.

        It has a ``name``, which is part of its tokens, and ``run(command,
        deadline)`` as above. ``lends(deadline)`` returns whether the server
        itself lends the right to compute a value, by meta commands; the
        answer is remembered until ``forget_meta()`` is called.
        ``is_leased(key, deadline)`` returns whether an empty value is a claim
        to compute the value, or None if the server cannot tell.
        """

    def owe(key):
        """Have the key removed before this process reads it again.

        This is a no-op for a store that keeps no record of keys.
        """

    def owe_absent(key, deadline):
        """Like `owe`, for those servers of the key that are down while another
        one stands in for them.
        """

    def transaction():
        """Return the transaction for whose end changes wait, and a bool.

        It is an object that stands for it, or None if changes are made at
        once. The bool says whether it has changed anything, here or in a
        database: then what is computed may be right for it alone.
        """

    def has_changed(keys):
        """Return whether that transaction has changed one of the keys here.
        """

    def retire(successor):
        """Close what the store that replaces this one does not use.

        Operations that have begun end in this one.
        """

    def close():
        """Close the connections that are idle. The store can still be used.
        """


class AddVersion(Add):
    """`Add` of what all share, and what changes no value.

    So it need not wait for the end of a transaction.
    """


class Fill(Cas):
    """`Cas` for a value that was computed within a transaction.

    The transaction sees it, also if it is not the one that will be stored.
    Without a server (``only_at`` is '') nobody else ever does.
    """


class Store:
    """Base of all stores: deals with changes whose outcome is unknown.

    A subclass implements `_ask`, `_ask_many` and `_remove`, and the rest of
    `IStore`.
    """

    def _ask(self, server, command, deadline):
        """Return the server's reply."""
        raise NotImplementedError

    def _ask_many(self, commands, replies, deadline):
        """Put a reply or `MemcacheError` for each key into `replies`.

        Returns a dict of errors that override a reply: their keys were
        changed on a stand-in, while their own server is down.
        """
        raise NotImplementedError

    def _remove(self, keys, deadline):
        """Remove keys whose server refused a new value."""
        raise NotImplementedError

    @property
    def lineage(self):
        return self

    def retire(self, successor):
        self.close()

    def transaction(self):
        return None, False

    def has_changed(self, keys):
        return False

    def _change(self, server, command, deadline):
        """Run a command on the server of its key."""
        try:
            return self._ask(server, command, deadline)
        except LeaseLost:
            raise  # nothing was sent
        except BaseException as error:
            self.owe(command.key)
            if isinstance(error, ServerError):
                # The old value must not pass for the new one, not in other
                # processes either.
                self._remove([command.key], deadline)
            raise

    def run_many(self, commands, deadline):
        replies = {}
        try:
            absent = self._ask_many(commands, replies, deadline)
        finally:
            lost = []
            if len(replies) < len(commands) or has_errors(replies):
                lost = [
                    command.key for command in commands
                    if command.changes and _is_lost(
                        replies.get(command.key, _UNKNOWN))]
            for key in lost:
                self.owe(key)
        refused = [
            key for key in lost if isinstance(replies[key], ServerError)]
        if refused:
            with contextlib.suppress(MemcacheError):
                self._remove(refused, deadline)
        return {**replies, **absent}
