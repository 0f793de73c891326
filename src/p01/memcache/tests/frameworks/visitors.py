# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Visitors of a Zope: they read pages, while an editor changes them."""

import random
import statistics
import threading
import time
from typing import NamedTuple


# Seconds between two changes.
PAUSE = 0.05


class Visit(NamedTuple):
    """One answer: when it was asked for, and how many seconds it took."""

    moment: float
    seconds: float


class Visitors:
    """Browsers that read the pages of a `Zope`, until they are stopped.

    ``visits`` are the answers so far. ``errors`` and ``stale`` are texts that
    say what was wrong: a page is stale if it shows less than what a change
    had shown that was answered before the page was asked for. With "compare",
    it is stale if it is not what the database of its own transaction has.

    The browsers are spread over all `zopes`; the editor uses the first one.
    """

    def __init__(self, *zopes, browsers=16, pages=20, **form):
        self._zopes = zopes
        self._pages = [f'page{number}' for number in range(pages)]
        self._form = form
        self._changed = dict.fromkeys(self._pages, 0)
        self._over = threading.Event()
        self.visits, self.errors, self.stale = [], [], []
        # A new page takes a write, and thus a turn.
        browser = zopes[0].browser()
        for page in self._pages:
            browser.read('change', name=page, value=0)
        browser.close()
        self._threads = [
            threading.Thread(target=self._run, args=args, daemon=True)
            for args in [(self._change, zopes[0]), *(
                (self._read, zopes[number % len(zopes)])
                for number in range(browsers))]]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, step, zope):
        browser, chance = zope.browser(), random.Random()
        while not self._over.is_set():
            try:
                step(browser, chance.choice(self._pages))
            except Exception as error:
                self.errors.append(f'{type(error).__name__}: {error}')
                browser.close()
                self._over.wait(PAUSE)
        browser.close()

    def _read(self, browser, page):
        least, start = self._changed[page], time.monotonic()
        text = browser.read(name=page, **self._form)
        end = time.monotonic()
        self.visits.append(Visit(start, end - start))
        shown, _, actual = text.partition('/')
        if actual and shown != actual:
            self.stale.append(f'{page}: {shown} instead of {actual}')
        elif not actual and int(shown) < least:
            self.stale.append(f'{page}: {shown} instead of {least}')

    def _change(self, browser, page):
        value = self._changed[page] + 1
        browser.read('change', name=page, value=value)
        self._changed[page] = value
        self._over.wait(PAUSE)

    def between(self, start, end):
        """Return how long the answers took that came between two moments."""
        return [visit.seconds for visit in list(self.visits)
                if start <= visit.moment + visit.seconds < end]

    def median(self, start, end):
        """Return the median of these, or infinity if there were none."""
        found = self.between(start, end)
        return statistics.median(found) if found else float('inf')
