# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A model of `p01.memcache.snapshots`: it tries every interleaving.

usage: model.py [--committers N] [--readers N] [--order vx]
                [--restart] [--break RULE | --break each]

There are one database, one dependency and one key. Every commit changes what
the key's value is computed from, so the value that is right for a snapshot is
that of the last commit up to it. A reader must never take a value from the
cache that differs from what its own snapshot gives. ``--break`` leaves out one
rule of the protocol, to show that the check notices.
"""

import argparse
import sys
from collections import deque
from typing import NamedTuple


RULES = {
    'mark': 'the vote does not mark the dependency',
    'forget': 'a version counts although there is a mark behind it',
    'early-end': 'the mark is ended before the commit',
    'look-at-marks': 'a version is made although there is an open mark',
    'compare': 'a version is put there without compare-and-swap',
    'last-first': 'the last tid is asked for before the log is read',
    'exact-last': 'a version is made of what its maker sees, not of the last'
                  ' commit',
    'own-snapshot': 'a reader takes values whose version is newer than its'
                    ' snapshot',
    'store-anyway': 'a value is stored although its version is newer than its'
                    ' snapshot',
}

# Only a restart of memcached between a vote and the commit shows that it is
# needed.
RULES_OF_RESTARTS = {
    'settle': 'a version is made just after a restart',
}

IDLE, ADDED, VOTED, COMMITTED, ENDED, DONE, CRASHED = range(7)
BEGIN, READ, DECIDE, ADD, LOOK, ASK, CAS, COMPUTE, OVER = range(9)

LOG = frozenset()  # what is there is no version, and nobody holds it


class State(NamedTuple):

    last: int  # tid of the database's last commit
    #: Under the key of the dependency: nothing, a version, which is a tid, or
    #: a log, which is a set of the committers whose marks are open.
    entry: object
    #: Under the key of the value: the snapshot of which it was computed, which
    #: only the check looks at, and the version in its stamp.
    value: tuple | None
    committers: tuple  # of a step and the tid of the commit
    #: Of a step, a snapshot, what was read, a tid, and whether the entry is
    #: still the one with the unique number that was read.
    readers: tuple
    restarts: int  # how often memcached may be restarted
    #: Committers that had voted when memcached was restarted. Nobody alive is
    #: so slow that the server does not count as new until the commit.
    lost: frozenset = frozenset()

    def enter(self, entry):
        """Return the state in which the entry was written."""
        return self._replace(entry=entry, readers=tuple(
            (*reader[:4], False) for reader in self.readers))

    def commit(self, number, step, tid=None):
        return self._replace(committers=_swap(
            self.committers, number, (step, tid)))

    def read(self, number, step, snapshot=None, found=(), tid=None,
             same=False):
        return self._replace(readers=_swap(
            self.readers, number, (step, snapshot, found, tid, same)))


def _swap(items, number, item):
    return (*items[:number], item, *items[number + 1:])


class Model:

    def __init__(self, committers=1, readers=2, order='vx', broken=None,
                 restarts=0):
        self.order = order
        self.broken = broken
        self.size = committers, readers
        self.restarts = restarts

    def starts(self):
        committers, readers = self.size
        for version in (None, 0):
            for value in (None, (0, 0)):
                yield State(
                    0, version, value, ((IDLE, None),) * committers,
                    ((BEGIN, None, (), None, False),) * readers,
                    self.restarts)

    def check(self):
        """Return what is wrong, the way there, and how many states and hits.
        """
        came = dict.fromkeys(self.starts())
        queue, hits = deque(came), 0
        while queue:
            state = queue.popleft()
            for name, after in self.moves(state):
                if name == 'hit':
                    hits += 1
                trouble = name if name.startswith('wrong') else None
                if trouble or after not in came:
                    came[after] = name, state
                    queue.append(after)
                if trouble:
                    path = []
                    while came[after]:
                        name, after = came[after]
                        path.append(name)
                    return trouble, path[::-1], len(came), hits
        return None, [], len(came), hits

    def moves(self, state):
        """Yield what may happen next, and the state after it."""
        for number, (step, tid) in enumerate(state.committers):
            yield from self.move_committer(state, number, step, tid)
        for number, reader in enumerate(state.readers):
            yield from self.move_reader(state, number, *reader)
        entry = state.entry
        if isinstance(entry, frozenset):
            for number in entry:
                # Marks are open for a long time, and nobody alive is so slow.
                if state.committers[number][0] == CRASHED:
                    yield 'a mark expires', state._replace(
                        entry=entry - {number})
        if isinstance(entry, int) or entry is not None and all(
                state.committers[number][0] == CRASHED for number in entry):
            yield 'the entry is evicted', state.enter(None)
        if state.value is not None:
            yield 'the value is evicted', state._replace(value=None)
        if state.restarts:
            yield 'memcached is restarted', state._replace(
                value=None, restarts=state.restarts - 1,
                lost=frozenset(range(self.size[0]))).enter(None)

    def move_committer(self, state, number, step, tid):
        entry, broken = state.entry, self.broken
        if step == IDLE:
            yield 'add a log', (
                state if entry is not None else state.enter(
                    LOG if broken == 'mark' else frozenset({number}))
            ).commit(number, ADDED)
        elif step == ADDED:
            if entry is None:
                yield 'the log is gone', state.commit(number, IDLE)
                return
            marks = entry if isinstance(entry, frozenset) else LOG
            marked = marks | {number}
            if broken == 'mark':
                marked = marks
            elif broken == 'forget' and isinstance(entry, int):
                marked = entry
            yield 'vote', state.enter(marked).commit(number, VOTED)
        elif step == VOTED and broken == 'early-end':
            yield 'end', self.end(state, number).commit(number, ENDED)
        elif step in (VOTED, ENDED):
            yield 'commit', state._replace(last=state.last + 1).commit(
                number, COMMITTED if step == VOTED else DONE, state.last + 1)
            if step == VOTED:
                yield 'abort', self.end(state, number).commit(number, DONE)
        elif step == COMMITTED:
            yield 'end', self.end(state, number).commit(number, DONE, tid)
        if step in (ADDED, VOTED, COMMITTED):
            yield 'crash', state.commit(number, CRASHED, tid)

    def end(self, state, number):
        entry = state.entry
        if isinstance(entry, frozenset):
            return state.enter(entry - {number})
        if entry is None or self.broken == 'forget':
            return state
        return state.enter(LOG)

    def move_reader(self, state, number, step, snapshot, found, tid, same):
        entry, broken = state.entry, self.broken

        def to(step, found=(), tid=None, same=False, state=state):
            return state.read(number, step, snapshot, found, tid, same)

        over = state.read(number, OVER)
        if step == BEGIN:
            for behind in (0, 1):  # a client's view of the database may lag
                if state.last >= behind:
                    yield 'begin', state.read(
                        number, READ, state.last - behind)
        elif step == READ:
            name = self.order[len(found)]
            found = *found, entry if name == 'v' else state.value
            yield f'read {name}', to(
                DECIDE if len(found) == 2 else READ, found)
        elif step == DECIDE:
            yield from self.decide(
                state, to, over, snapshot, dict(
                    zip(self.order, found, strict=True)))
        elif step == ADD:
            if broken == 'last-first':
                tid = state.last
            yield 'add a log', to(LOOK, tid=tid, state=(
                state if entry is not None else state.enter(LOG)))
        elif step == LOOK:
            if isinstance(entry, int):
                yield 'another made it', to(READ)
            elif entry is None or entry and broken != 'look-at-marks':
                yield 'no version', over
            elif broken != 'settle' and any(
                    state.committers[one][0] == VOTED for one in state.lost):
                yield 'memcached is new', over
            else:
                yield 'no mark is open', to(
                    ASK if tid is None else CAS, tid=tid, same=True)
        elif step == ASK:
            last = snapshot if broken == 'exact-last' else state.last
            yield 'ask for the last tid', to(CAS, tid=last, same=same)
        elif step == CAS:
            if same or broken == 'compare':
                yield 'a version is made', to(READ, state=state.enter(tid))
            else:
                yield 'the log has changed', over
        elif step == COMPUTE:
            yield 'store', over._replace(value=(snapshot, tid))

    def decide(self, state, to, over, snapshot, seen):
        version, value = seen['v'], seen['x']
        is_known = isinstance(version, int)
        is_ours = is_known and version <= snapshot
        if ((is_ours or is_known and self.broken == 'own-snapshot')
                and value is not None and value[1] == version):
            right = self.content(state, snapshot)
            if self.content(state, value[0]) == right:
                yield 'hit', over
            else:
                yield (f'wrong: snapshot {snapshot} was given the value of'
                       f' snapshot {value[0]}'), over
        elif not is_known:
            yield 'no version', to(ADD)
        elif is_ours or self.broken == 'store-anyway':
            yield 'compute', to(COMPUTE, tid=version)
        else:
            yield 'compute, do not store', over

    def content(self, state, snapshot):
        return max((tid for _, tid in state.committers
                    if tid is not None and tid <= snapshot), default=0)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--committers', type=int, default=1)
    parser.add_argument('--readers', type=int, default=2)
    parser.add_argument('--order', default='vx', choices=['vx', 'xv'],
                        help='whether the version or the value is read first')
    parser.add_argument(
        '--restart', action='store_true',
        help='memcached may be restarted once')
    parser.add_argument('--break', dest='broken',
                        choices=[*RULES, *RULES_OF_RESTARTS, 'each'])
    options = parser.parse_args(args)
    rules = {**RULES, **(RULES_OF_RESTARTS if options.restart else {})}
    failed = 0
    for rule in rules if options.broken == 'each' else [options.broken]:
        trouble, path, states, hits = Model(
            options.committers, options.readers, options.order, rule,
            restarts=int(options.restart)).check()
        what = rules.get(rule, 'the protocol as it is')
        print(f'{rule or "whole"}: {what}:'
              f' {trouble or "each hit is what its snapshot gives"}'
              f' ({states} states, {hits} hits)')
        if options.broken != 'each':
            for number, name in enumerate(path, 1):
                print(f'{number:3} {name}')
        failed += (trouble is None) if rule else (trouble is not None)
    return failed


if __name__ == '__main__':
    sys.exit(main())
