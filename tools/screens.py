# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Make the pictures of memcache-client anew: bin/screens

Three memcacheds serve a client under load. ``status`` looks at them, and
``watch`` sees one being stopped, and started again with nothing in it. What
they show on a terminal is in src/p01/memcache/console, as SVG.
"""

import argparse
import contextlib
import io
import pathlib
import re
import threading
import time

from rich.console import Console
from rich.text import Text

from p01.memcache.testing import Memcached
from p01.memcache.tests.operation import load
from p01.memcache.tests.support.terminal import Terminal


FOLDER = (pathlib.Path(__file__).parents[1]
          / 'src' / 'p01' / 'memcache' / 'console')

WIDTH = 100

# Seconds from the beginning until the server stops, until it is started again,
# and to the end.
_STOP, _START, _END = 20, 28, 50

# rich has a browser look for a font at another host.
_find_fonts = re.compile(r'@font-face \{.*?\}\s*', re.DOTALL)


def save(command, output):
    """Draw what is left on the terminal."""
    # After the former screen is back, and the cursor.
    shown = output.rpartition('\x1b[?1049l')[2].replace('\x1b[?25h', '')
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f'$ memcache-client {command}'))
    console.print(Text.from_ansi(shown.replace('\r', '').rstrip()))
    picture = _find_fonts.sub('', console.export_svg(
        title='', unique_id=command))
    path = FOLDER / f'{command}.svg'
    path.write_text(
        '\n'.join(map(str.rstrip, picture.splitlines())) + '\n',
        encoding='utf-8')
    print(f'{path.name}: {path.stat().st_size:,} bytes')


def main():
    argparse.ArgumentParser(
        description=__doc__.partition('\n')[0]).parse_args()
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Memcached()) for _ in range(3)]
        addresses = [server.address for server in servers]
        load.shop(*addresses)
        time.sleep(_STOP)
        for seconds, do in (
                (_STOP, servers[1].stop), (_START, servers[1].start)):
            threading.Timer(seconds, do).start()
        options = '--servers', ','.join(addresses)
        terminal = Terminal(
            'watch', '--interval', '0.5', '--count', str(2 * _END), *options,
            width=WIDTH)
        terminal.wait_for('is down: ')
        terminal.wait_for('has restarted')
        terminal.end()
        save('watch', terminal.output)
        terminal = Terminal('status', *options, width=WIDTH)
        terminal.end()
        save('status', terminal.output)


if __name__ == '__main__':
    main()
