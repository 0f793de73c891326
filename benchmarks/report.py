# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The table of the results."""

from collections import Counter
from statistics import median


#: The contenders' names where there is little space.
SHORT = {
    'limit': 'raw', 'ultra': 'Ultra', 'classic': 'Class',
    'pymemcache': 'pymem', 'python-memcached': 'pyth.', 'pylibmc': 'pylib',
    'libmc': 'libmc',
}


# What is measured once in each interpreter.
STARTUP = 'import, client, first get'


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
    """Return the number as text, with about three digits; None is a dash."""
    if value is None:
        return '-'
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
    if results['startup']:
        lines += ['', *_startup(results, titles)]
    for what, numbers in results['footprint'].items():
        lines += ['', *_footprint(titles, what, numbers)]
    for curve in results['curves'].values():
        lines += ['', *_curve(titles, curve)]
    return '\n'.join(lines)


def comparison(rows, pace, is_alike, results, former):
    """Return a text about what the functions in `compare` return."""
    then = former['about']
    lines = [
        f'Compared to {then["date"]}: {then["cpu"]}, {then["cores"]} cores,'
        f' {then["python"]}, memcached {then["memcached"]}']
    if pace is not None:
        lines.append(f'Raw sockets take {pace:.2f} x as long as then')
    if not is_alike:
        lines.append('The machine or its load differs: measure both versions'
                     ' on this one before you trust a verdict')
    lines.append(f'{"Ratios to raw sockets":52}{"before":>21}{"now":>21}')
    for row in rows:
        title = results['contenders'][row.contender]['title']
        lines.append(f'  {row.title:32}{title:20}' + ''.join(
            f'{each.middle:6.2f} ({each.low:5.2f},{each.high:6.2f})'
            for each in (row.before, row.now)) + f'  {row.verdict}')
    counts = Counter(row.verdict for row in rows)
    lines.append(', '.join(
        f'{count} {verdict}' for verdict, count in sorted(counts.items())))
    return '\n'.join(lines)


def summary(results):
    """Return the figures of performance.txt, as its paragraphs.

    The microseconds of all works, a line each; the ratios of the pooled
    client; and what a client costs at the start.
    """
    names = [name for name in SHORT if name in results['contenders']]
    width = max(map(len, [
        STARTUP, *(work['title'] for work in results['works'].values())]))
    head = ''.join(f'{SHORT[name]:>6}' for name in names)

    def line(title, columns, what):
        return f'{title:{width}}' + ''.join(
            f'{number(_median(columns.get(name, {}).get(what))):>6}'
            for name in names)

    lines = [' ' * width + head]
    lines += [line(work['title'], work['contenders'], 'wall')
              for work in results['works'].values()]
    lines += ['', f'{"the pooled client":{width}}{"x raw":>7}{"least":>7}'
              f'{"most":>7}{"x peer":>8}{"computed":>10}']
    lines += [_pooled(results, work, width)
              for work in results['works'].values()]
    if results['startup']:
        lines += ['', f'{STARTUP:{width}}' + head]
        lines += [line(title, results['startup'], what) for title, what in (
            ('milliseconds', 'ms'), ('megabytes', 'MB'))]
    return '\n'.join(lines)


def _pooled(results, work, width):
    contenders = work['contenders']
    ours = contenders['ultra']
    each = ratios(ours['wall'], contenders['limit']['wall'])
    peer = best_peer(results, contenders)
    computed = _median(ours['computed'])
    return (f'{work["title"]:{width}}{median(each):7.2f}{min(each):7.2f}'
            f'{max(each):7.2f}'
            + (f'{"-":>8}' if peer is None else
               f'{ratio(ours["wall"], contenders[peer]["wall"]):8.2f}')
            + (f'{"":10}' if computed is None else f'{computed:10.0%}')
            + ('' if peer is None else f' {SHORT[peer]}')).rstrip()


def _median(values):
    """Return it, or None if something was not measured."""
    return None if values is None or None in values else median(values)


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
    for name, title in titles.items():
        if name not in contenders:
            # It has no such operation.
            yield f'  {title:30}{"-":>9}'
            continue
        column = contenders[name]
        wall = column['wall']
        line = (f'  {title:30}{median(wall):9,.1f}{min(wall):9,.1f}'
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


def _startup(results, titles):
    starts = results['startup']
    yield (f'{STARTUP:32}{"ms":>9}{"least":>9}'
           f'{"most":>9}{"limit":>8}{"MB":>9}')
    for name, column in starts.items():
        taken = column['ms']
        yield (f'  {titles[name]:30}{median(taken):9,.1f}{min(taken):9,.1f}'
               f'{max(taken):9,.1f}'
               + (f'{ratio(taken, starts["limit"]["ms"]):6.2f} x'
                  if 'limit' in starts else f'{"-":>8}')
               + f'{number(_median(column["MB"])):>9}')


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
