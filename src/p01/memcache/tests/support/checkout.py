# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is in a checkout, but not in the installed package."""

import importlib
import pathlib
import sys


ROOT = pathlib.Path(__file__).resolve().parents[5]
TOOLS = ROOT / 'tools'


def load_tool(name):
    """Return the module of a command, or None where there is no checkout."""
    if not (TOOLS / f'{name}.py').exists():
        return None
    # Its child processes look there, too.
    if str(TOOLS) not in sys.path:
        sys.path.append(str(TOOLS))
    return importlib.import_module(name)
