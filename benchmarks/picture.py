# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The pictures of the results: bars of the works, and curves."""

import io
import math
from statistics import median

from matplotlib import pyplot
from PIL import Image
from report import number


# Colours that the colour-blind can tell apart. Ours are the blue ones.
COLOURS = {
    'limit': '#8c8c8c',
    'ultra': '#0072b2',
    'classic': '#56b4e9',
    'pymemcache': '#e69f00',
    'python-memcached': '#d55e00',
    'pylibmc': '#009e73',
    'libmc': '#cc79a7',
}

# Enough for these and for smooth edges; with all colours a picture is large.
PALETTE = 128

# A bar is cut off at this multiple of its panel's median.
CUT = 2.5

WIDTH = 10  # of a picture; an inch has 100 pixels
STYLE = {
    'font.size': 8,
    'font.family': 'DejaVu Sans',
    'axes.titlesize': 8.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'figure.dpi': 100,
}


def draw(results, folder):
    """Draw pictures of the available results; return their paths."""
    # A backend that needs no screen.
    pyplot.switch_backend('Agg')
    paths = []
    for name, make in {
            'performance': _performance, 'growth': _growth}.items():
        with pyplot.rc_context(STYLE):
            figure = make(results)
            if figure is None:
                continue
            picture = io.BytesIO()
            figure.savefig(picture)
            pyplot.close(figure)
            paths.append(folder / f'{name}.png')
            Image.open(picture).convert('RGB').quantize(PALETTE).save(
                paths[-1], optimize=True)
    return paths


def _panels(count, columns, height):
    rows = math.ceil(count / columns)
    figure, axes = pyplot.subplots(
        rows, columns, squeeze=False, layout='constrained',
        figsize=(WIDTH, rows * height + 0.9))
    for empty in axes.flat[count:]:
        empty.set_axis_off()
    return figure, axes.flat[:count]


def _head(figure, results, title, handles):
    about = results['about']
    figure.legend(
        handles, [handle.get_label() for handle in handles],
        title=f'{title}\n{about["cpu"]}, {about["cores"]} cores,'
        f' {about["python"]}, memcached {about["memcached"]},'
        f' {about["date"]}\n', title_fontsize=9, loc='outside upper center',
        ncols=len(handles), frameon=False, handlelength=1.2,
        columnspacing=1.4)


def _performance(results):
    panels = list(_bars(results))
    if not panels:
        return None
    figure, axes = _panels(len(panels), 4, 1.35)
    for axis, (title, write, numbers) in zip(axes, panels, strict=True):
        _draw_bars(axis, title, write, numbers)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[name],
                                label=known['title'])
               for name, known in results['contenders'].items()]
    _head(figure, results,
          'Microseconds of an operation, shorter is better (longer: ↑)',
          handles)
    return figure


def _bars(results):
    """Yield a title, the format of a number, and the numbers by name."""
    works = results['works']

    def medians(work, column):
        return {name: median(columns[column])
                for name, columns in works[work]['contenders'].items()}

    for name, work in works.items():
        yield work['title'], number, medians(name, 'wall')
    for name, threads in ('busy-8', 8), ('busy-100', 100):
        if name in works:
            yield (f'↑ still computed beside {threads}', '{:.0%}'.format,
                   medians(name, 'computed'))
    for name in 'get', 'get-100k', 'queryMany', 'write-8', 'load':
        if name in works:
            yield (f'CPU time: {works[name]["title"]}', number,
                   medians(name, 'cpu'))
    for name, title in (('connections', 'connections of 100 threads'),
                        ('memory', 'kilobytes of an idle client')):
        numbers = results['footprint'].get(name, {})
        if numbers and None not in numbers.values():
            yield title, number, numbers


def _draw_bars(axis, title, write, numbers):
    cut = CUT * median(numbers.values())
    end = min(cut, max(numbers.values()))
    for place, (name, value) in enumerate(numbers.items()):
        length = min(value, end)
        axis.barh(place, length, color=COLOURS[name], height=0.8)
        if value > end:
            # A gap shows that the bar goes on.
            axis.barh(place, 0.03 * end, left=0.88 * end, color='white')
        axis.text(length + 0.02 * end, place, write(value), va='center',
                  fontweight='bold' if name == 'ultra' else 'normal')
    axis.set_title(title)
    axis.set_xlim(0, 1.3 * end)
    axis.invert_yaxis()
    axis.set_yticks([])
    axis.set_xticks([])
    axis.spines['bottom'].set_visible(False)


def _growth(results):
    curves = results['curves'].values()
    if not curves:
        return None
    figure, axes = _panels(len(curves), 2, 2.3)
    handles = {}
    for axis, curve in zip(axes, curves, strict=True):
        _draw_curve(axis, curve, handles)
    for name, handle in handles.items():
        handle.set_label(results['contenders'][name]['title'])
    _head(figure, results,
          'Microseconds of an operation, lower is better',
          [handles[name] for name in results['contenders'] if name in handles])
    return figure


def _draw_curve(axis, curve, handles):
    points = curve['points']
    numbers = [point['number'] for point in points]
    for name in points[0]['contenders']:
        [handles[name]] = axis.plot(
            numbers,
            [median(point['contenders'][name]['wall']) for point in points],
            color=COLOURS[name], linewidth=2.2 if name == 'ultra' else 1.2,
            marker='o', markersize=3, zorder=3 if name == 'ultra' else 2)
    axis.set_title(f'{curve["title"]}, by {curve["axis"]}')
    axis.set_xscale('log')
    axis.set_yscale('log')
    axis.set_xticks(numbers, [_short(number) for number in numbers])
    axis.set_xticks([], minor=True)
    axis.yaxis.set_major_formatter(lambda value, place: _short(value))
    low, high = axis.get_ylim()
    # If there are many powers of ten, label few numbers between them.
    digits = '23468' if high / low < 10 else '25' if high / low < 100 else ''
    axis.yaxis.set_minor_formatter(
        lambda value, place: _short(value) if str(value)[0] in digits else '')
    axis.grid(color='#e5e5e5')


def _short(number):
    if number >= 1_000_000:
        return f'{number / 1_000_000:g}M'
    return f'{number / 1000:g}k' if number >= 1000 else f'{number:g}'
