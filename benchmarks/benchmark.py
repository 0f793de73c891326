# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command ``bin/benchmark``: our clients, others, and raw sockets."""

import argparse
import datetime
import json
import pathlib
import signal
import sys

import footprint
import machine
import report
from contenders import CONTENDERS
from contenders import PEERS
from contenders import check
from contenders import is_installed
from contenders import version
from growth import CURVES
from rounds import play
from servers import Servers
from tqdm import tqdm
from works import WORKS


HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / 'results.json'
PICTURES = HERE.parent / 'src/p01/memcache'

# Measured once for each contender.
FOOTPRINT = 'connections', 'memory'

NAMES = *WORKS, *FOOTPRINT, *CURVES

# The version of the results' format.
SECTIONS = {'about', 'contenders', 'missing', 'works', 'footprint', 'curves'}


def find_contenders(servers):
    """Return the names of usable contenders, and why the others are not."""
    names, missing = [], {}
    for name, contender in CONTENDERS.items():
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


def bounded(names, curve):
    return [name for name in names
            if CONTENDERS[name].isBounded or not curve.isBounded]


def measure(only, names, servers, rounds, seconds):
    """Return the results by what was measured: works, curves and so on."""
    works = {name: WORKS[name] for name in WORKS if name in only}
    curves = {name: CURVES[name] for name in CURVES if name in only}
    wanted = [name for name in FOOTPRINT if name in only]
    turns = (rounds + 1) * (len(works) * len(names) + sum(
        len(curve.works) * len(bounded(names, curve))
        for curve in curves.values()))
    results = {'works': {}, 'footprint': {}, 'curves': {}}
    with tqdm(total=turns + len(wanted) * len(names), unit='turn') as bar:
        def turns_of(work, names):
            bar.set_description(f'{work.title:32}')
            return as_columns(
                play(work, names, servers, rounds, seconds, bar.update))

        for name, work in works.items():
            results['works'][name] = {
                'title': work.title, 'contenders': turns_of(work, names)}
        [address] = servers.addresses()
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


def run(only, rounds, seconds):
    """Return the results, as they are written to the file."""
    with Servers() as servers:
        [address] = servers.addresses()
        memcached = footprint.statistics(address)['version']
        names, missing = find_contenders(servers)
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
        import picture
    except ImportError as error:
        sys.exit('benchmark: the pictures need matplotlib, of the extra'
                 f' "benchmark" ({error}).')
    for path in picture.draw(results, folder):
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
    return results


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
        ' results to a file, prints a table and draws two pictures. A full'
        ' run takes about a quarter of an hour; nothing else should run.')
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
        '--results', metavar='FILE', type=file,
        help='where to write the results (default: results.json beside'
        ' benchmark.py)')
    parser.add_argument(
        '--pictures', metavar='FOLDER', type=folder,
        help='where to draw the pictures (default: among the documents of'
        ' p01.memcache)')
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    isWhole = options.only is None
    results = options.draw
    if results is None:
        # All that was started here ends with the command, also by `kill`.
        signal.signal(
            signal.SIGTERM, lambda *args: sys.exit('benchmark: terminated.'))
        try:
            results = run(
                options.only or NAMES, options.rounds, options.seconds)
        except KeyboardInterrupt:
            sys.exit('benchmark: interrupted.')
        except RuntimeError as error:
            sys.exit(f'benchmark: {error}')
    print(report.table(results))
    path = options.results or (
        RESULTS if isWhole and options.draw is None else None)
    if path is not None:
        try:
            path.write_text(json.dumps(results) + '\n')
        except OSError as error:
            sys.exit(f'benchmark: the results cannot be written: {error}')
    pictures = options.pictures or (PICTURES if isWhole else None)
    if pictures is not None:
        draw(results, pictures)


if __name__ == '__main__':
    main()
