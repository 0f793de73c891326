# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Rounds, in which each contender has a turn, in random order."""

import contextlib
import random

from contenders import CONTENDERS
from works import compute_alone
from works import turn


def play(work, names, servers, rounds, seconds, step):
    """Return the contenders' turns: a list of `Measure` for each name.

    ``step()`` is called after each turn; each has ``rounds + 1`` of them.
    """
    addresses = servers.addresses(work.servers, work.delay)
    turns = {name: [] for name in names}
    order = list(names)
    with contextlib.ExitStack() as stack:
        clients = {}
        for name in names:
            clients[name] = CONTENDERS[name](addresses, pool=work.pool)
            stack.callback(clients[name].close)
        # The first round is only a warm-up.
        for length in [seconds / 4] + [seconds] * rounds:
            alone = compute_alone(length) if work.computing else None
            random.shuffle(order)
            for name in order:
                # A missing result counts as failed.
                with contextlib.suppress(Exception):
                    clients[name].setMany(work.stored)
                turns[name].append(turn(work, clients[name], length, alone))
                step()
    return {name: measures[1:] for name, measures in turns.items()}
