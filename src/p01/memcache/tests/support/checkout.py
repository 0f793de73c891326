# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a checkout has, but not the installed package."""

import contextlib
import importlib
import io
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


def refusal(tool, *arguments):
    """Return what a command prints that refuses its arguments."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            tool.main(arguments)
    except SystemExit as end:
        if end.code == 2:
            return output.getvalue()
    raise AssertionError(f'{arguments}: not refused')
