# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A thread that only measures how busy the machine is."""

import threading
import time


# Seconds; so seldom that it takes nothing from those it watches.
NAP = 0.005


class Bystander:
    """Sleeps, again and again, while the context is entered.

    ``lates`` has by how many seconds each nap was too long.
    """

    def __init__(self):
        self.lates = []
        self._leaving = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._leaving = True
        self._thread.join()

    def _run(self):
        while not self._leaving:
            start = time.monotonic()
            time.sleep(NAP)
            self.lates.append(time.monotonic() - start - NAP)
