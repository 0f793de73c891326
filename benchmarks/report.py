# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The table of the results."""

from statistics import median


#: The contenders' names where there is little space.
SHORT = {
    'limit': 'raw', 'ultra': 'Ultra', 'classic': 'Class',
    'pymemcache': 'pymem', 'python-memcached': 'pyth.', 'pylibmc': 'pylib',
    'libmc': 'libmc',
}


def best_peer(results, contenders):
    """Return the name of the peer that was the fastest, or None."""
    peers = [name for name in contenders
             if results['contenders'][name]['isPeer']
             and not contenders[name]['failed']]
    return min(peers, default=None,
               key=lambda name: median(contenders[name]['wall']))


def ratios(taken, other):
    """Return the ratio of the times to the other's, in each round."""
    return [mine / its for mine, its in zip(taken, other, strict=True)]


def ratio(taken, other):
    return median(ratios(taken, other))


def number(value):
    """Return the number as text, with about three digits."""
    if isinstance(value, int) or value >= 100:
        return f'{value:,.0f}'
    return f'{value:.1f}'


def table(results):
    """Return the results as a text."""
    titles = {name: known['title']
              for name, known in results['contenders'].items()}
    lines = list(_about(results))
    for work in results['works'].values():
        lines += ['', *_work(results, titles, work)]
    for what, numbers in results['footprint'].items():
        lines += ['', *_footprint(titles, what, numbers)]
    for curve in results['curves'].values():
        lines += ['', *_curve(titles, curve)]
    return '\n'.join(lines)


def summary(results):
    """Return the microseconds of all works, a line each, and the ratios of
    the pooled client: a text for the documentation.
    """
    names = [name for name in SHORT if name in results['contenders']]
    width = max(len(work['title']) for work in results['works'].values())
    lines = [' ' * width + ''.join(f'{SHORT[name]:>6}' for name in names)]
    for work in results['works'].values():
        lines.append(f'{work["title"]:{width}}' + ''.join(
            f'{number(median(work["contenders"][name]["wall"])):>6}'
            for name in names))
    lines += ['', f'{"the pooled client":{width}}{"x raw":>7}{"least":>7}'
              f'{"most":>7}{"x peer":>8}{"computed":>10}']
    for work in results['works'].values():
        contenders = work['contenders']
        peer = best_peer(results, contenders)
        ours = contenders['ultra']['wall']
        each = ratios(ours, contenders['limit']['wall'])
        [computed, *_] = contenders['ultra']['computed']
        lines.append(
            f'{work["title"]:{width}}{median(each):7.2f}{min(each):7.2f}'
            f'{max(each):7.2f}{ratio(ours, contenders[peer]["wall"]):8.2f}'
            + (' ' * 10 if computed is None else
               f'{median(contenders["ultra"]["computed"]):10.0%}')
            + f' {SHORT[peer]}')
    return '\n'.join(lines)


def _about(results):
    about = results['about']
    yield (f'{about["date"]}, {about["cpu"]}, {about["cores"]} cores,'
           f' {about["kernel"]}')
    yield ', '.join([about['python'], f'memcached {about["memcached"]}'] + [
        f'{known["title"]} {known["version"]}'
        for known in results['contenders'].values() if known['version']])
    yield (f'Medians of {about["rounds"]} rounds, {about["seconds"]} s or'
           ' more for a turn')
    yield ('Ratios to the raw sockets (limit) and to the fastest other client'
           ' (peer): medians of those in each round')
    for name, reason in results['missing'].items():
        yield f'Without {name}: {reason}'


def _work(results, titles, work):
    contenders = work['contenders']
    isComputing = any(column['computed'][0] is not None
                      for column in contenders.values())
    peer = best_peer(results, contenders)
    yield (f'{work["title"]:32}{"µs":>9}{"least":>9}{"most":>9}{"limit":>8}'
           f'{"peer":>8}{"computed" if isComputing else "CPU µs":>9}')
    for name, column in contenders.items():
        wall = column['wall']
        line = (f'  {titles[name]:30}{median(wall):9,.1f}{min(wall):9,.1f}'
                f'{max(wall):9,.1f}')
        for other in 'limit', peer:
            line += (f'{ratio(wall, contenders[other]["wall"]):6.2f} x'
                     if other in contenders else f'{"-":>8}')
        if isComputing:
            line += f'{median(column["computed"]):9.0%}'
        else:
            line += f'{median(column["cpu"]):9,.1f}'
        if column['failed']:
            line += f'  {column["failed"]:,} FAILED'
        yield line


def _footprint(titles, what, numbers):
    yield {'connections': '100 threads write: connections opened',
           'memory': 'an idle client: kB of memory'}[what]
    for name, count in numbers.items():
        text = '-' if count is None else f'{count:,}'
        yield f'  {titles[name]:30}{text:>9}'


def _curve(titles, curve):
    names = list(curve['points'][0]['contenders'])
    yield f'{curve["title"]}: µs by {curve["axis"]}'
    yield f'{"":12}' + ''.join(f'{titles[name]:>20}' for name in names)
    for point in curve['points']:
        columns = point['contenders']
        line = f'  {point["number"]:10,}' + ''.join(
            f'{median(columns[name]["wall"]):20,.1f}' for name in names)
        failed = [f'{titles[name]}: {columns[name]["failed"]:,} FAILED'
                  for name in names if columns[name]['failed']]
        yield '  '.join([line, *failed])
