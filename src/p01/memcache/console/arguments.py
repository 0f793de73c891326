# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The arguments of the command, and its help."""

import argparse
import math

from p01.memcache.console import change
from p01.memcache.console import item
from p01.memcache.console import show
from p01.memcache.console.trouble import Trouble


_EPILOG = '''\
Servers come from --servers, from MEMCACHE_SERVERS in the environment, or from
an application's ZCML, by --zcml. The exit status is 0 if all is well, 1 if
some of the servers are down or there is no such value, and 2 if nothing could
be done.'''

# Options that are settings of the client, by the name of the setting: those to
# reach the servers, and those to find a key.
_REACHING = {
    'credentialsFile': ('--credentials', {
        'metavar': 'FILE', 'help': 'a file with user:password'}),
    'caFile': ('--ca', {
        'metavar': 'FILE', 'help': 'authorities of tls:// servers (PEM)'}),
    'certFile': ('--cert', {
        'metavar': 'FILE', 'help': 'our certificate (PEM)'}),
    'keyFile': ('--cert-key', {
        'metavar': 'FILE', 'help': 'its private key (PEM)'}),
}
_LOCATING = {
    'distribution': ('--distribution', {
        'choices': ('ketama', 'modulo', 'roundrobin'),
        'help': 'which server a key is on (default: ketama)'}),
    'keyScheme': ('--key-scheme', {
        'choices': ('compatible', 'strict'),
        'help': 'how keys are built (default: compatible)'}),
    'namespace': ('--namespace', {
        'metavar': 'NAME', 'help': 'the namespace of the client'}),
    'generations': ('--generations', {
        'action': 'store_true', 'help': 'the client has generations'}),
}


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, like every other one."""

    def __init__(self, *args, **kw):
        # An abbreviation would mean something else one day.
        super().__init__(*args, epilog=_EPILOG, allow_abbrev=False, **kw)

    def error(self, message):
        raise Trouble(f'{message}; see {self.prog} --help')


def parse(arguments):
    """Return the options; ``options.run(options)`` does what they say."""
    options = _make_parser().parse_args(arguments)
    options.settings = {
        name: vars(options)[name] for name in (*_REACHING, *_LOCATING)
        if vars(options).get(name)}
    options.named = [
        {**_REACHING, **_LOCATING}[name][0] for name in options.settings]
    if options.region:
        options.named.append('--region')
    return options


def _make_parser():
    parser = _Parser(
        'memcache-client', description='Look at memcached, as a site of'
        ' p01.memcache uses it.')
    commands = parser.add_subparsers(
        title='commands', required=True, metavar='COMMAND')

    def add(name, run, help, *parts):
        command = commands.add_parser(
            name, help=help, description=f'{help[0].upper()}{help[1:]}.')
        command.set_defaults(run=run, region=None)
        for part in parts:
            part(command)
        _add_site(command)

    add('status', show.status, 'show how the servers are',
        _add_json, _add_interval)
    add('watch', show.watch, 'show that again and again, until Ctrl-C',
        _add_json, _add_interval, _add_count)
    add('ping', show.ping, 'ask whether all servers answer')
    add('which', item.which, 'show where a key is, and what is there',
        _add_key)
    add('get', item.get, 'print a value, without running its pickle',
        _add_key)
    add('delete', change.delete, 'remove a value', _add_key)
    add('flush', change.flush, 'empty a namespace, or all servers',
        _add_flush)
    return parser


def _add(command, options):
    for name, (option, how) in options.items():
        command.add_argument(option, dest=name, **how)


def _add_site(command):
    group = command.add_argument_group('servers')
    group.add_argument(
        '--servers', action='append', metavar='LIST',
        help='addresses, or places that list servers, as in ZCML; separated'
        ' by blanks or commas')
    group.add_argument(
        '--zcml', metavar='FILE',
        help='a ZCML file that registers the client, whose servers, settings'
        ' and secrets are used; its includes are loaded, too')
    group.add_argument(
        '--name', metavar='NAME', default='',
        help='the name of the client in the ZCML (default: unnamed)')
    group.add_argument(
        '--timeout', metavar='SECONDS', type=_seconds,
        help="seconds for all servers (default: the client's, or 3)")
    _add(group, _REACHING)


def _add_key(command):
    command.add_argument('key', metavar='KEY', help='the key, a text')
    kind = command.add_mutually_exclusive_group()
    kind.add_argument(
        '--built', action='store_true',
        help='KEY is a built key, as logs show it')
    kind.add_argument(
        '--wire', action='store_true',
        help='KEY is the key on the wire, as memcached shows it')
    _add_region(command)
    _add(command, _LOCATING)


def _add_region(command):
    command.add_argument(
        '--region', action='append', metavar='NAME',
        help='the region of the client; again for one within it')


def _add_flush(command):
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument(
        '--namespace', nargs='?', const='', metavar='NAME',
        help='make all values of the namespace misses; that of the client,'
        ' without NAME. It needs generations')
    what.add_argument(
        '--all', action='store_true',
        help='remove all values of all applications from all servers')
    command.add_argument(
        '--delay', metavar='SECONDS', type=_seconds, default=0,
        help='with --all: seconds between one server and the next')
    command.add_argument(
        '--yes', action='store_true', help='do not ask')
    _add_region(command)
    _add(command, {name: _LOCATING[name]
                   for name in ('distribution', 'keyScheme')})


def _add_json(command):
    command.add_argument(
        '--json', action='store_true', help='print JSON, an object a line')


def _add_interval(command):
    command.add_argument(
        '--interval', metavar='SECONDS', type=_seconds, default=1,
        help='seconds between two looks, of which rates are computed'
        ' (default: 1)')


def _add_count(command):
    command.add_argument(
        '--count', metavar='N', type=_count, help='end after N looks')


def _seconds(text):
    number = float(text)
    if not 0 <= number <= 86400 or math.isnan(number):
        raise argparse.ArgumentTypeError(
            f'{text!r}: must be a number of seconds, a day at most')
    return number


_seconds.__name__ = 'number of seconds'


def _count(text):
    if not int(text) > 0:
        raise argparse.ArgumentTypeError(f'{text!r}: must be at least 1')
    return int(text)


_count.__name__ = 'number of looks'
