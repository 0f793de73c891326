# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command ``bin/benchmark``: our clients, others, and raw sockets."""

import argparse
import contextlib
import datetime
import json
import pathlib
import signal
import sys

from tqdm import tqdm

from benchmarks import footprint
from benchmarks import machine
from benchmarks import report
from benchmarks import startup
from benchmarks.compare import FEWEST
from benchmarks.compare import OURS
from benchmarks.compare import compare
from benchmarks.compare import is_alike
from benchmarks.compare import is_worse
from benchmarks.compare import pace
from benchmarks.contenders import CONTENDERS
from benchmarks.contenders import PEERS
from benchmarks.contenders import check
from benchmarks.contenders import is_installed
from benchmarks.contenders import version
from benchmarks.growth import CURVES
from benchmarks.rounds import play
from benchmarks.servers import Servers
from benchmarks.works import WORKS


HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / 'results.json'
PICTURES = HERE.parent / 'src/p01/memcache'

# Measured once for each contender.
FOOTPRINT = 'connections', 'memory'

# What is compared to a former run, and who takes part then.
ROWS = *WORKS, 'startup'
COMPARED = 'limit', *OURS

NAMES = *ROWS, *FOOTPRINT, *CURVES

# The sections of the results; those of older versions have no ``startup``.
SECTIONS = {'about', 'contenders', 'missing', 'works', 'footprint', 'curves'}


def find_contenders(servers, wanted):
    """Return the names of usable contenders, and why the others are not."""
    names, missing = [], {}
    for name in wanted:
        contender = CONTENDERS[name]
        if not is_installed(name):
            missing[name] = 'it is not installed'
            continue
        try:
            for count in 1, 3:
                client = contender(servers.addresses(count))
                check(client)
                client.close()
        except Exception as error:
            missing[name] = f'{type(error).__name__}: {error}'
        else:
            names.append(name)
    return names, missing


def as_columns(turns):
    """Return the result of `play` as lists of numbers, for JSON."""
    return {name: {
        'wall': [round(each.wall, 2) for each in measures],
        'cpu': [each.cpu and round(each.cpu, 2)
                for each in measures],
        'failed': sum(each.failed for each in measures),
        'computed': [each.computed and round(each.computed, 4)
                     for each in measures],
    } for name, measures in turns.items()}


def as_starts(starts):
    return {name: {
        'ms': [each.milliseconds for each in measures],
        'MB': [each.megabytes for each in measures],
    } for name, measures in starts.items()}


def bounded(names, curve):
    return [name for name in names
            if CONTENDERS[name].isBounded or not curve.isBounded]


def able(names, work):
    return [name for name in names if hasattr(CONTENDERS[name], work.needed)]


def measure(only, names, servers, rounds, seconds):
    """Return the results by what was measured: works, curves and so on."""
    works = {name: WORKS[name] for name in WORKS if name in only}
    curves = {name: CURVES[name] for name in CURVES if name in only}
    wanted = [name for name in FOOTPRINT if name in only]
    turns = (rounds + 1) * sum([
        *(len(able(names, work)) for work in works.values()),
        len(names) * ('startup' in only),
        *(len(curve.works) * len(bounded(names, curve))
          for curve in curves.values())])
    results = {'works': {}, 'startup': {}, 'footprint': {}, 'curves': {}}
    with tqdm(total=turns + len(wanted) * len(names), unit='turn') as bar:
        def turns_of(work, names):
            bar.set_description(f'{work.title:32}')
            return as_columns(
                play(work, names, servers, rounds, seconds, bar.update))

        for name, work in works.items():
            results['works'][name] = {
                'title': work.title,
                'contenders': turns_of(work, able(names, work))}
        [address] = servers.addresses()
        if 'startup' in only:
            bar.set_description(f'{"startup":32}')
            results['startup'] = as_starts(
                startup.play(names, address, rounds, bar.update))
        for what in wanted:
            bar.set_description(f'{what:32}')
            results['footprint'][what] = numbers = {}
            for name in names:
                if what == 'memory':
                    numbers[name] = footprint.memory(name, address)
                else:
                    numbers[name] = footprint.connections(
                        name, address, seconds)
                bar.update()
        for name, curve in curves.items():
            results['curves'][name] = {
                'title': curve.title, 'axis': curve.axis,
                'points': [
                    {'number': number,
                     'contenders': turns_of(work, bounded(names, curve))}
                    for number, work in curve.works.items()]}
    return results


def run(only, contenders, rounds, seconds):
    """Return the results, as they are written to the file."""
    if machine.is_busy():
        print('benchmark: other processes compute, too: do not trust the'
              ' figures', file=sys.stderr)
    with Servers() as servers:
        [address] = servers.addresses()
        memcached = footprint.statistics(address)['version']
        names, missing = find_contenders(servers, contenders)
        for name, reason in missing.items():
            print(f'benchmark: {name} is left out: {reason}', file=sys.stderr)
        return {
            'about': {
                'date': datetime.date.today().isoformat(),
                **machine.describe(),
                'memcached': memcached,
                'rounds': rounds,
                'seconds': seconds,
            },
            'contenders': {name: {
                'title': CONTENDERS[name].title,
                'version': version(name),
                'isPeer': name in PEERS,
            } for name in names},
            'missing': missing,
            **measure(only, names, servers, rounds, seconds),
        }


def draw(results, folder):
    try:
        from benchmarks.picture import draw_all
    except ImportError as error:
        sys.exit('benchmark: the pictures need matplotlib, of the extra'
                 f' "benchmark" ({error}).')
    for path in draw_all(results, folder):
        print(f'Drawn: {path}')


def count(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def duration(text):
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError
    return value


def read(text):
    try:
        results = json.loads(pathlib.Path(text).read_text())
        if not isinstance(results, dict) or SECTIONS - set(results):
            raise ValueError('these are no results')
    except (OSError, TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f'{text}: {error}') from None
    return {'startup': {}, **results}


def folder(text):
    path = pathlib.Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f'there is no folder {path}')
    return path


def file(text):
    path = pathlib.Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'{path} is a folder')
    folder(path.parent)
    return path


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog='benchmark', description='Measures our clients beside other ones,'
        ' and beside raw sockets, on memcached that it'
        ' starts itself. All do the same work, and take turns. It writes the'
        ' results to a file, prints a table and draws two pictures, and says'
        ' what became slower than in the results that the file had. A full run'
        ' takes about a quarter of an hour; nothing else should run.')
    parser.add_argument(
        '--rounds', metavar='N', type=count, default=7,
        help='turns of each contender in each work (default: %(default)s)')
    parser.add_argument(
        '--seconds', metavar='N', type=duration, default=0.25,
        help='of a turn (default: %(default)s); some take a multiple of it')
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        '--only', metavar='NAME', nargs='+', choices=NAMES,
        help='only these, and only the table, unless a file or a folder is'
        f' given: {", ".join(NAMES)}')
    what.add_argument(
        '--draw', metavar='FILE', type=read,
        help='measure nothing: these are the results')
    parser.add_argument(
        '--check', metavar='FILE', type=read, nargs='?', const=str(RESULTS),
        help='compare to these results (default: those in the repository):'
        ' just our clients and raw sockets, and no curves; nothing is written'
        ' unless named. The exit status is 1 if a row became slower')
    parser.add_argument(
        '--results', metavar='FILE', type=file,
        help='where to write the results (default: results.json beside'
        ' benchmark.py)')
    parser.add_argument(
        '--pictures', metavar='FOLDER', type=folder,
        help='where to draw the pictures (default: among the documents of'
        ' p01.memcache)')
    options = parser.parse_args(arguments)
    if options.check and not options.draw:
        if options.rounds < FEWEST:
            parser.error(f'--check needs {FEWEST} rounds, or more')
        if not set(options.only or ROWS) & set(ROWS):
            parser.error(f'--check compares {", ".join(ROWS)}')
    return options


def measured(only, options, times=1):
    """Return the results of these, with so many times the rounds."""
    # All that was started here ends with the command, also by `kill`.
    signal.signal(
        signal.SIGTERM, lambda *args: sys.exit('benchmark: terminated.'))
    try:
        return run(only, COMPARED if options.check else CONTENDERS,
                   options.rounds * times, options.seconds)
    except KeyboardInterrupt:
        sys.exit('benchmark: interrupted.')
    except RuntimeError as error:
        sys.exit(f'benchmark: {error}')


def confirmed(results, options):
    """Return the results, in which what seems slower is measured again.

    Of fifty rows one or two seem slower by chance. Twice is no chance.
    """
    slower = dict.fromkeys(
        row.name for row in compare(results, options.check)
        if row.verdict == 'slower')
    if not slower or not is_alike(results, options.check):
        return results
    print(f'benchmark: once more, as slower: {", ".join(slower)}',
          file=sys.stderr)
    again = measured(slower, options, times=2)
    return {**results, 'works': {**results['works'], **again['works']},
            'startup': again['startup'] or results['startup']}


def main(arguments=None):
    options = parse_arguments(arguments)
    isWhole = options.only is None and options.check is None
    former, path, results = options.check, options.results, options.draw
    if results is None:
        if former is None:
            # Before it is overwritten.
            with contextlib.suppress(argparse.ArgumentTypeError):
                former = read(RESULTS)
        if path is None and isWhole:
            path = RESULTS
        results = measured(
            options.only or (ROWS if options.check else NAMES), options)
        if options.check:
            results = confirmed(results, options)
    print(report.table(results))
    if isWhole:
        print(f'\nFor performance.txt:\n\n{report.summary(results)}')
    rows = compare(results, former) if former else []
    if rows:
        print('\n' + report.comparison(
            rows, pace(results, former), is_alike(results, former), results,
            former))
    if path is not None:
        try:
            path.write_text(json.dumps(results) + '\n')
        except OSError as error:
            sys.exit(f'benchmark: the results cannot be written: {error}')
    pictures = options.pictures or (PICTURES if isWhole else None)
    if pictures is not None:
        draw(results, pictures)
    if options.check and is_worse(rows):
        sys.exit(1)


if __name__ == '__main__':
    main()
