# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The commands that change what is cached: delete and flush."""

import sys

from p01.memcache.console import site
from p01.memcache.console.status import PARTLY
from p01.memcache.console.status import TROUBLE
from p01.memcache.console.status import WELL
from p01.memcache.console.trouble import Trouble
from p01.memcache.errors import MemcacheError
from p01.memcache.log import describe
from p01.memcache.log import printable
from p01.memcache.wire.command import Delete
from p01.memcache.wire.command import FlushAll


def delete(options):
    """Remove a value."""
    where = site.find(options)
    deadline = where.deadline()
    try:
        _, wire = where.find_key(options, deadline)
        done = wire is not None and where.store.run(Delete(wire), deadline)
    except MemcacheError as error:
        raise Trouble(f'delete: not known to be removed: {error.server}:'
                      f' {describe(error)}') from None
    print('removed' if done else 'there was none')
    return WELL if done else PARTLY


def flush(options):
    """Empty a namespace, or all servers."""
    if options.all:
        return _flush_all(site.find(options), options)
    if options.delay:
        raise Trouble('--delay: has no effect without --all')
    if options.zcml is None:
        # It can be emptied in no other way.
        options.settings['generations'] = True
    return _flush_namespace(site.find(options), options)


def _flush_namespace(where, options):
    if not where.origin.generations:
        raise Trouble(
            'flush --namespace: the client must have generations, otherwise'
            ' nothing knows which keys are of a namespace')
    shown = repr(where.origin.namespace or '')
    deadline = where.deadline()
    found, errors = where.versions.read([where.generation], deadline)
    if errors:
        raise errors[0]
    if not found:
        print(f'namespace {shown} has no generation: no client with'
              ' generations has used it, or its keys are built in another way')
        return PARTLY
    _confirm(options, f'Make all values of namespace {shown} misses? [y/N] ',
             ('y', 'yes'))
    for reply in where.versions.forget(
            [where.generation], where.deadline()).values():
        if isinstance(reply, MemcacheError):
            raise reply
    print(f'namespace {shown} is empty')
    return WELL


def _flush_all(where, options):
    servers = where.servers(where.deadline())
    count = len(servers)
    print('servers: ' + printable(
        ', '.join(server.address for server in servers), 10_000))
    answer = f'flush {count}'
    _confirm(
        options, 'This removes all values of ALL applications on them. The'
        f' databases behind will feel it. Type "{answer}": ', (answer,))
    replies = where.store.ask_all(
        FlushAll(), where.deadline(), options.delay)
    failed = [(server, reply) for server, reply in replies
              if isinstance(reply, MemcacheError)]
    for server, error in failed:
        print(f'{printable(server)}: NOT empty: {describe(error)}')
    print(f'{count - len(failed)} of {count} servers are empty')
    if not failed:
        return WELL
    return TROUBLE if len(failed) == count else PARTLY


def _confirm(options, question, answers):
    """Raise `Trouble` unless the user agrees."""
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise Trouble('flush: needs --yes where nobody can be asked')
    print(question, end='', flush=True)
    if sys.stdin.readline().strip().lower() not in answers:
        raise Trouble('flush: not confirmed, nothing was removed')
