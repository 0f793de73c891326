# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Processes that compute, one for each processor, so that none is idle."""

import multiprocessing
import os


def _compute(ready):
    parent = os.getppid()
    ready.release()
    # They also end if the benchmark was killed.
    while os.getppid() == parent:
        sum(range(100_000))


class BusyProcessors:
    """A context manager: within it the processors are busy."""

    def __enter__(self):
        spawn = multiprocessing.get_context('spawn')
        ready = spawn.Semaphore(0)
        self._processes = [
            spawn.Process(target=_compute, args=(ready,), daemon=True)
            for _ in range(os.cpu_count() or 1)]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            if not ready.acquire(timeout=30):
                self.__exit__()
                raise RuntimeError('a process that computes does not start')
        return self

    def __exit__(self, *exc_info):
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()
