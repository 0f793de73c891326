# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Objects as JSON: those that come back from it as they were."""

import json
import math
import reprlib

from zope.interface import implementer

from p01.memcache.errors import SerializationError
from p01.memcache.errors import UnreadableValue
from p01.memcache.errors import describe
from p01.memcache.interfaces import ISerializer
from p01.memcache.values.flags import JSON
from p01.memcache.values.path import Refused
from p01.memcache.values.unstorable import refuse


_SIMPLE = frozenset((str, int, bool, type(None)))
_SHORT = _SIMPLE - {int}


def _refused(reason):
    return Refused(SerializationError, reason)


def _check(obj, simple=_SIMPLE):
    """Raise `Refused` for the first part that JSON does not hold.

    A tuple, for example, would come back as a list, and 1 as a key as '1'.
    """
    kind = type(obj)
    if kind in simple or kind is float and math.isfinite(obj):
        return
    if kind is int:
        try:
            str(obj)
        except ValueError as error:
            raise _refused(describe(error)) from None
        return
    if kind is dict:
        for name in obj:
            if type(name) is not str:
                raise _refused(f'its key {reprlib.repr(name)} is not a str')
    elif kind is not list:
        try:
            refuse(obj)
        except SerializationError as error:
            raise _refused(str(error)) from None
        raise _refused(
            f'{obj!r} is not in JSON' if kind is float else
            f'a {kind.__name__} would not come back from JSON as it is')
    place = None
    try:
        for place, part in (  # noqa: B007
                obj.items() if kind is dict else enumerate(obj)):
            if type(part) not in simple:
                _check(part, simple)
    except Refused as refused:
        refused.place = f'[{place!r:.100}]{refused.place}'
        raise


@implementer(ISerializer)
class JSONSerializer:
    """See `ISerializer`."""

    def dumps(self, key, obj):
        try:
            _check(obj)
            try:
                text = json.dumps(
                    obj, ensure_ascii=False, separators=(',', ':'))
            except ValueError:
                _check(obj, _SHORT)  # an int of thousands of digits
                raise
        except Refused as refused:
            raise refused.error('value') from None
        except RecursionError:
            raise SerializationError(
                'value: it contains itself, or is nested too deep') from None
        return text.encode('utf-8', 'surrogatepass'), JSON

    def loads(self, key, data, flags):
        if flags != JSON:
            raise UnreadableValue(f'unknown flags {flags}')
        return json.loads(
            data.decode('utf-8', 'surrogatepass'),
            parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name):
    raise UnreadableValue(f'{name} is not in JSON')


def _finite(text):
    number = float(text)
    if math.isinf(number):
        _refuse_constant('infinity')
    return number
