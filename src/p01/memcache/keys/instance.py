# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The copy of an instance, which is pickled as the instance would be."""

import pickle
from typing import Any
from typing import NamedTuple


class Content(NamedTuple):
    """What an instance is made of, see ``object.__reduce__``.

    ``pairs`` are the keys and values of a dict, in one list.
    """

    make: Any
    args: tuple
    state: Any = None
    items: list | None = None
    pairs: list | None = None
    setter: Any = None


class Instance:
    """A copy of an instance of this class; its content may come later."""

    def __init__(self, kind: type, content: Content | None = None) -> None:
        self.kind = kind
        self.content = content

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.kind  # the pickler compares it

    def reduced(self) -> tuple:
        if self.content is None:
            raise ValueError('a set contains itself')
        make, args, state, items, pairs, setter = self.content
        return (make, args, state, None if items is None else iter(items),
                None if pairs is None else zip(
                    pairs[::2], pairs[1::2], strict=True), setter)


class InstancePickler(pickle.Pickler):

    def reducer_override(self, obj: object) -> Any:
        return obj.reduced() if type(obj) is Instance else NotImplemented
