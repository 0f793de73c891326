# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Whether the cache is well, for those that must know it at once."""

from p01.memcache.log import describe
from p01.memcache.log import printable
from p01.memcache.observed.asking import Asking
from p01.memcache.observed.clients import servers


_asking = Asking()


def health(client, within=0):
    """Return whether all servers of a client are well, and that in words.

    That is what the client knows from its operations; a classic client knows
    nothing, and is well. With `within` the servers are asked, too, for so many
    seconds at most: one that is late is not well. The words have names of
    servers, and are not for the public.
    """
    [verdict] = survey([client], within)
    return verdict


def survey(clients, within=0):
    """Return what `health` says of each client; all are asked at once."""
    answers = _asking.ask(
        {id(client): client.getStatistics for client in clients},
        within) if within else {}
    return [_judge(client, answers.get(id(client)), within)
            for client in clients]


def _judge(client, answer, within):
    if within and answer is None:
        return False, f'no answer within {within} s'
    try:
        known = servers(client) or [
            {'server': server, 'state': 'down' if 'error' in values else 'up',
             'reason': values.get('error')} for server, values in answer or ()]
    except Exception as error:
        return False, f'unknown: {describe(error)}'
    known = [server for server in known if server['state'] != 'drained']
    ill = [server for server in known if server['state'] != 'up']
    if not ill:
        return True, f'{len(known)} of {len(known)} servers are up'
    return False, printable(
        f'{len(ill)} of {len(known)} servers are not up: ' + '; '.join(
            f'{server["server"]} is {server["state"]}, {server["reason"]}'
            for server in ill))
