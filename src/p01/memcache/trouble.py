# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What goes wrong in a client: logged, counted, notified, but never raised.
"""

import threading
import time
import weakref

from zope.event import notify

from p01.memcache.counts.counts import Counts
from p01.memcache.event import UnreadableValueEvent
from p01.memcache.log import LimitedLog
from p01.memcache.log import logger
from p01.memcache.threads import fork


# Seconds in which one kind of failure is logged only once.
_QUIET = 60


class _Token:
    """Lives as long as a handler runs, however that ends."""


class Trouble:
    """Reports the failures of one client, and has its `Counts`.

    With `states` the client reports the changes of its servers' states, and
    what the errors say that is ``reported_elsewhere`` is left to that.
    """

    def __init__(self, client, states):
        self._client = weakref.ref(client)
        self._states = states
        self._logged = {}  # kind of trouble -> when it may be logged again
        self._slow = LimitedLog('slow operations')
        self.counts = Counts()
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._telling = weakref.WeakValueDictionary()

    def report(self, error, message, *args):
        """Count why an operation failed, and log it.

        Each kind of failure is logged once a minute.
        """
        self.counts.failed(error)
        self._log(error, message, *args)

    def _log(self, error, message, *args):
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
        self.counts.was_unreadable(error)
        self._log(error, 'key %s: not readable', builtKey)
        try:
            self._tell(
                notify, UnreadableValueEvent(self._client(), key, error))
        except Exception:
            # This is no concern of the caller of `query`.
            logger.exception(
                'memcache key %s: a subscriber of IUnreadableValueEvent'
                ' failed', builtKey)

    def slow(self, command, key, seconds, phase, server):
        """Log an operation that took longer than the setting `slow`."""
        self._tell(
            self._slow.warn, 'memcache %s, key %s: slow, %.3f seconds,'
            ' most of them for: %s (at %s)', command, key, seconds, phase,
            server)

    def _tell(self, tell, *args, **kw):
        """Call a function that runs handlers, which may use this very client.

        What fails within a handler is not reported by the same way again:
        that might never end.
        """
        token = _Token()
        if self._telling.setdefault(
                (tell, threading.get_ident()), token) is token:
            tell(*args, **kw)
