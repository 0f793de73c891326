# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Make the pictures of the page @@memcache anew: bin/pictures [--seconds N]

Three memcacheds serve a site under load, for ten minutes, so that the curve is
full. The page is taken twice, in a narrow and in a wide window. Then one
memcached is frozen, and the page is taken again: the pictures are in
src/p01/memcache/browser.
"""

import argparse
import contextlib
import io
import pathlib
import tempfile
import time

from PIL import Image

from p01.memcache.testing import Memcached
from p01.memcache.tests.operation.chromium import Chromium
from p01.memcache.tests.operation.processes import Toolkit


FOLDER = (pathlib.Path(__file__).parents[1]
          / 'src' / 'p01' / 'memcache' / 'browser')

# Colours of a picture: enough for text that is smooth, few for a small file.
_COLOURS = 128

# Seconds that the second server stands still before it is looked at.
_OUTAGE = 40

WIDE, NARROW = (1200, 1020), (400, 960)

PICTURES = {
    False: (('wide-light', WIDE, 'light'), ('narrow-dark', NARROW, 'dark')),
    True: (('outage-narrow-light', NARROW, 'light'),
           ('outage-wide-dark', WIDE, 'dark'))}


def save(name, png):
    picture = Image.open(io.BytesIO(png)).convert('RGB')
    picture = picture.quantize(
        _COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    path = FOLDER / f'{name}.png'
    picture.save(path, optimize=True)
    print(f'{path.name}: {path.stat().st_size:,} bytes')


def take(url, is_outage):
    with Chromium() as chromium:
        for name, size, scheme in PICTURES[is_outage]:
            chromium.window(*size, scheme)
            chromium.open(url)
            save(name, chromium.picture())
            print(chromium.text('.verdict'))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--seconds', type=int, default=600,
                        help='how long the site runs before')
    seconds = parser.parse_args().seconds
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Memcached()) for _ in range(3)]
        site = stack.enter_context(Toolkit(
            stack.enter_context(tempfile.TemporaryDirectory()), 'shop',
            *[server.address for server in servers]))
        time.sleep(seconds)
        take(site.url, is_outage=False)
        servers[1].freeze()
        time.sleep(_OUTAGE)
        take(site.url, is_outage=True)


if __name__ == '__main__':
    main()
