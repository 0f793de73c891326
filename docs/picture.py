# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The picture of a site with and without the cache: python docs/picture.py

It draws ``site.svg`` from the table of ``zope.txt``, where the measurement is
described. The picture is SVG, and follows the reader's choice of dark or
light.
"""
import pathlib
import re


DOCS = pathlib.Path(__file__).resolve().parent
ZOPE = DOCS.parent / 'src' / 'p01' / 'memcache' / 'zope.txt'

# The row of the table, and what the picture calls it.
ROWS = (('no cache', 'without the cache'),
        ('cache', 'with the cache'),
        ('memcached is frozen', 'memcached is frozen'),
        ('10 seconds later', 'soon after it is back'))
LEFT, BAR, STEP, WIDTH = 170, 26, 38, 640
TITLE = 'Pages a second of a Zope with four threads and 16 browsers'

SVG = '''\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img" \
font-family="system-ui, sans-serif" font-size="14">
<title>{title}: {summary}</title>
<style>
text {{ fill: #222 }}
.on {{ fill: #2a7d4f }}
.off {{ fill: #9a9a9a }}
.ground {{ fill: #fff }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #ddd }}
.on {{ fill: #4cb07a }}
.off {{ fill: #777 }}
.ground {{ fill: #131416 }}
}}
</style>
<rect class="ground" width="{width}" height="{height}" rx="6"/>
<text x="16" y="28" font-weight="bold">{title}</text>
{bars}
</svg>
'''
BAR_SVG = '''\
<text x="{left}" y="{text}" text-anchor="end">{label}</text>
<rect class="{kind}" x="{start}" y="{top}" width="{size}" height="{bar}"/>
<text x="{end}" y="{text}">{value}</text>'''


def figures():
    """Return the requests a second of each row, as measured."""
    text = ZOPE.read_text(encoding='utf-8')
    found = []
    for row, _ in ROWS:
        [value] = re.findall(rf'^{row}  +(\d+)  +\d+ ms ', text, re.M)
        found.append(int(value))
    return found


def draw(values):
    """Return the picture of these figures, as SVG."""
    scale = (WIDTH - LEFT - 90) / max(values)
    bars = []
    for place, ((row, label), value) in enumerate(
            zip(ROWS, values, strict=True)):
        top = 46 + place * STEP
        size = round(value * scale)
        bars.append(BAR_SVG.format(
            left=LEFT - 10, text=top + 18, label=label, top=top, bar=BAR,
            kind='off' if row in ('no cache', 'memcached is frozen')
            else 'on', start=LEFT, size=size, end=LEFT + size + 8,
            value=value))
    summary = ', '.join(
        f'{label} {value}'
        for (_, label), value in zip(ROWS, values, strict=True))
    return SVG.format(
        width=WIDTH, height=46 + len(values) * STEP + 6, title=TITLE,
        summary=summary, bars='\n'.join(bars))


if __name__ == '__main__':
    (DOCS / 'site.svg').write_text(draw(figures()), encoding='utf-8')
