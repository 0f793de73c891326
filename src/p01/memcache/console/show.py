# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands about servers: status, watch and ping."""

import contextlib
import json
import os
import sys
import threading
import time

from p01.memcache.console import look
from p01.memcache.console import site
from p01.memcache.console.history import History
from p01.memcache.console.status import WELL
from p01.memcache.console.status import of_servers
from p01.memcache.console.trouble import Trouble
from p01.memcache.console.words import clock
from p01.memcache.console.words import summary


# Seconds to find the servers and to load ZCML, for a health check.
_PATIENCE = 5


def ping(options):
    """Ask whether all servers answer, in one line."""
    # In a thread: whatever hangs, such as a file of ZCML, this command ends.
    found = []
    thread = threading.Thread(
        target=_find, args=(options, found), daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if not found:
        raise Trouble('ping: not done in time')
    if isinstance(found[0], BaseException):
        raise found[0]
    seen = look.at_life(found[0])
    count = len(seen.answers)
    print('; '.join([f'{seen.up} of {count} servers up', *(
        f'{answer.server} is down: {answer.error}'
        for answer in seen.answers if answer.error)]))
    return of_servers(seen.up, count)


def _find(options, found):
    try:
        found.append(site.find(options))
    except BaseException as error:
        found.append(error)


def status(options):
    """Show how the servers are: two looks, for the rates between them."""
    draw = None if options.json else _drawing()
    where, history = site.find(options), History()
    history.add(look.at_statistics(where))
    if options.interval:
        time.sleep(options.interval)
        history.add(look.at_statistics(where))
    if options.json:
        print(json.dumps(history.figures))
    else:
        draw.console().print(draw.status(history.figures))
    return _status(history.figures)


def watch(options):
    """Show the same again and again."""
    if (not options.json and sys.stdout.isatty()
            and os.environ.get('TERM') != 'dumb'):
        show = _drawing().live()
    else:
        show = contextlib.nullcontext(
            _print_json if options.json else _print_line)
    where, history, number = site.find(options), History(), 0
    with contextlib.suppress(KeyboardInterrupt), show as update:
        while True:
            began, number = time.monotonic(), number + 1
            update(history, history.add(look.at_statistics(where)))
            if number == options.count:
                break
            time.sleep(max(began + options.interval - time.monotonic(), 0.05))
    return WELL if history.figures is None else _status(history.figures)


def _status(figures):
    return of_servers(figures['up'], figures['up'] + figures['down'])


def _drawing():
    """Return the module that draws."""
    try:
        from p01.memcache.console import drawing
    except ImportError as error:
        if error.name is None or error.name.split('.')[0] != 'rich':
            raise
        raise Trouble(
            'rich is needed to draw, which the extra "console" of'
            ' p01.memcache installs; --json does without') from None
    return drawing


def _print_json(history, events):
    print(json.dumps({**history.figures, 'events': [
        text for _, text in events]}), flush=True)


def _print_line(history, events):
    """Print one line for the look, and one for each event."""
    for moment, text in events:
        print(f'{clock(moment)} {text}')
    figures = history.figures
    print(clock(figures['time']), summary(figures), flush=True)
