# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The failures of a client: logged, counted, notified, but never raised."""

import threading
import time
import weakref

from zope.event import notify

from p01.memcache.event import UnreadableValueEvent
from p01.memcache.log import logger
from p01.memcache.threads import fork
from p01.memcache.threads.turn import Turn


# Seconds in which one kind of failure is logged only once.
_QUIET = 60


class _Token:
    """Lives as long as a handler runs, however that ends."""


class Trouble:
    """Reports the failures of one client.

    With `states` the client reports the changes of its servers' states, and
    what the errors say that is ``reported_elsewhere`` is left to that.
    """

    def __init__(self, client, states):
        self._client = weakref.ref(client)
        self._states = states
        self._logged = {}  # kind of trouble -> when it may be logged again
        self.unreadable_values = {}  # name of an error -> how often
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._counting = Turn()
        self._telling = weakref.WeakValueDictionary()

    def report(self, error, message, *args):
        """Log why an operation failed, each kind of failure once a minute."""
        debug = getattr(self._client(), 'debug', 0)  # it may be gone
        if not debug:
            if getattr(error, 'expected', False) or (
                    self._states and error.reported_elsewhere):
                return
            kind, now = (message, type(error)), time.monotonic()
            if now < self._logged.get(kind, 0):
                return
            self._logged[kind] = now + _QUIET
        where = f' (at {error.server})' if error.server else ''
        self._tell(logger.warning, 'memcache ' + message + ': %s%s', *args,
                   error, where, exc_info=error if debug else None)

    def unreadable(self, key, builtKey, error):
        """Report a value that cannot be read, and notify the subscribers."""
        self.report(error, 'key %s: not readable', builtKey)
        name, counts = type(error).__name__, self.unreadable_values
        with self._counting.soon():
            counts[name] = counts.get(name, 0) + 1
        try:
            self._tell(
                notify, UnreadableValueEvent(self._client(), key, error))
        except Exception:
            # This is no concern of the caller of `query`.
            logger.exception(
                'memcache key %s: a subscriber of IUnreadableValueEvent'
                ' failed', builtKey)

    def _tell(self, tell, *args, **kw):
        """Call a function that runs handlers, which may use this very client.

        What fails within a handler is not reported by the same way again:
        that might never end.
        """
        token = _Token()
        if self._telling.setdefault(
                (tell, threading.get_ident()), token) is token:
            tell(*args, **kw)
