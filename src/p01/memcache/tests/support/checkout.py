# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a checkout has, but not the installed package."""

import importlib
import pathlib
import sys


ROOT = pathlib.Path(__file__).resolve().parents[5]
TOOLS = ROOT / 'tools'


def load_tool(name):
    """Return the module of a command, or None without a checkout."""
    if not (TOOLS / f'{name}.py').exists():
        return None
    # Its child processes import from there, too.
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    return importlib.import_module(name)
