# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Describes the machine that the results are from."""

import os
import pathlib
import platform


def describe():
    return {
        'cpu': _cpu(),
        'cores': os.cpu_count(),
        'kernel': f'{platform.system()} {platform.release()}',
        'python': f'{platform.python_implementation()}'
                  f' {platform.python_version()}',
    }


def _cpu():
    # On Linux this file tells more than the platform module.
    path = pathlib.Path('/proc/cpuinfo')
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition(':')
            if name.strip() == 'model name':
                return value.strip()
    return platform.processor() or platform.machine()
