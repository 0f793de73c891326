# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The operations of `IMemcacheWriter` on counters."""

from p01.memcache.attributes.arguments import check_number
from p01.memcache.errors import UnreadableValue
from p01.memcache.facade.base import Base
from p01.memcache.values.flags import PLAIN
from p01.memcache.wire import command
from p01.memcache.wire.replies import NOT_A_NUMBER


class Counting(Base):

    def increment(self, key, delta=1, initial=None, lifetime=None):
        return self._count(command.Increment, key, delta, initial, lifetime)

    def decrement(self, key, delta=1, initial=None, lifetime=None):
        return self._count(command.Decrement, key, delta, initial, lifetime)

    def _count(self, kind, key, delta, initial, lifetime):
        check_number('delta', delta)
        if initial is not None:
            check_number('initial', initial)
        state, expires = self._state, self._expiry(lifetime)

        def count(wire, deadline):
            number = state.store.run(kind(wire, delta), deadline)
            if number is None and initial is not None:
                if state.store.run(
                        command.Add(wire, b'%d' % initial, PLAIN, expires),
                        deadline):
                    return initial
                # Another client was faster.
                number = state.store.run(kind(wire, delta), deadline)
            if number is NOT_A_NUMBER:
                raise UnreadableValue('the value is not a number')
            return number

        return self._attempt(
            kind.__name__.lower(), state, self.buildKey(key), 'not counted',
            count)
