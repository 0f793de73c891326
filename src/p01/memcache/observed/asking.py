# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Questions to servers, of which no page waits for long."""

import threading
from concurrent.futures import Future
from concurrent.futures import wait

from p01.memcache.log import logger
from p01.memcache.threads import fork


class Asking:
    """Asks in threads, and goes on without those that are late.

    A question that is still on its way is not asked again, so asking over
    and over has one thread for each client at most. Each ends with
    the client's time-out. A forked child has none of them.
    """

    def __init__(self):
        self.after_fork()
        fork.register(self)

    def after_fork(self):
        self._lock = threading.Lock()
        self._running = {}

    def ask(self, questions, within):
        """Return ``{key: answer}`` of ``{key: callable}``.

        The answer is None if it fails, or is not there after `within` seconds.
        """
        fork.notice()
        running = {key: self._begin(key, question)
                   for key, question in questions.items()}
        done, _ = wait(running.values(), within)
        return {key: future.result() if future in done else None
                for key, future in running.items()}

    def _begin(self, key, question):
        with self._lock:
            future = self._running.get(key)
            if future is None:
                future = self._running[key] = Future()
                thread = threading.Thread(
                    target=self._run, args=(key, question, future),
                    name='p01.memcache statistics', daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no thread can be had
                    del self._running[key]
                    future.set_result(None)
        return future

    def _run(self, key, question, future):
        answer = None
        try:
            answer = question()
        except Exception:
            logger.exception('No statistics')
        finally:
            with self._lock:
                del self._running[key]
            future.set_result(answer)
