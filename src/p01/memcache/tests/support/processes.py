# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A script run by several processes, each with its own hash seed."""

import os
import subprocess
import sys


def run_thrice(script):
    """Return what three processes print: ``[(output, errors), ...]``."""
    path = os.pathsep.join(filter(None, sys.path))
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', script], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': path, 'PYTHONHASHSEED': seed})
        for seed in ('0', '1', '20260102')]
    return [process.communicate(timeout=60) for process in processes]
