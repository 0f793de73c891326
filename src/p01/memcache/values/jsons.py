# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects as JSON: those that come back from it as they were."""

import json
import math
import reprlib
from collections.abc import Iterable
from typing import Any
from typing import NoReturn

from zope.interface import implementer

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.interfaces import ISerializer
from p01.memcache.log import describe
from p01.memcache.path import Refused
from p01.memcache.values.flags import JSON
from p01.memcache.values.unstorable import refuse


_SIMPLE: frozenset[type] = frozenset((str, int, bool, type(None)))
_SHORT = _SIMPLE - {int}


def _refused(reason: str) -> Refused:
    return Refused(SerializationError, reason)


def check(obj: Any, simple: frozenset[type] = _SIMPLE) -> None:
    """Raise `Refused` for the first part that JSON cannot hold.

    A tuple, for example, would come back as a list, and the key 1 as '1'.
    """
    kind = type(obj)
    if kind in simple or kind is float and math.isfinite(obj):
        return
    if kind is int:
        return _check_digits(obj)
    parts: Iterable[tuple[Any, Any]]
    if kind is list:
        parts = enumerate(obj)
    elif kind is dict:
        _check_names(obj)
        parts = obj.items()
    else:
        _refuse(obj)
    for place, part in parts:
        if type(part) not in simple:
            try:
                check(part, simple)
            except Refused as refused:
                refused.path = f'[{place!r:.100}]{refused.path}'
                raise


def _check_digits(number: int) -> None:
    try:
        str(number)
    except ValueError as error:
        raise _refused(describe(error)) from None


def _check_names(mapping: dict) -> None:
    for name in mapping:
        if type(name) is not str:
            raise _refused(f'its key {reprlib.repr(name)} is not a str')


def _refuse(obj: object) -> NoReturn:
    kind = type(obj)
    if kind is float:
        raise _refused(f'{obj!r} is not in JSON')
    try:
        refuse(obj)
    except SerializationError as error:
        raise _refused(str(error)) from None
    raise _refused(
        f'a {kind.__name__} would not come back from JSON as it is')


@implementer(ISerializer)
class JSONSerializer:
    """See `ISerializer`."""

    def dumps(self, key: bytes, obj: object) -> tuple[bytes, int]:
        try:
            check(obj)
            try:
                text = json.dumps(
                    obj, ensure_ascii=False, separators=(',', ':'))
            except ValueError:
                check(obj, _SHORT)  # an int of thousands of digits
                raise
        except Refused as refused:
            raise refused.error('value') from None
        except RecursionError:
            raise SerializationError(
                'value: it contains itself, or is nested too deeply') from None
        return text.encode('utf-8', 'surrogatepass'), JSON

    def loads(self, key: bytes, data: bytes, flags: int) -> Any:
        if flags != JSON:
            raise UnreadableValue(f'unknown flags {flags}')
        return json.loads(
            data.decode('utf-8', 'surrogatepass'),
            parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name: str) -> NoReturn:
    raise UnreadableValue(f'{name} is not in JSON')


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        _refuse_constant('infinity')
    return number
