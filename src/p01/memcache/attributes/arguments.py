# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Checks of a client's attributes and arguments."""

from numbers import Real

from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Password
from zope.schema.interfaces import RequiredMissing
from zope.schema.interfaces import ValidationError
from zope.schema.interfaces import WrongContainedType
from zope.schema.interfaces import WrongType

from p01.memcache.discovery.source import parse_all
from p01.memcache.features.lifetime import expiry
from p01.memcache.features.lifetime import plain
from p01.memcache.interfaces import Drained
from p01.memcache.interfaces import Lifetime
from p01.memcache.interfaces import Namespace
from p01.memcache.interfaces import SerializerName
from p01.memcache.interfaces import Servers
from p01.memcache.interfaces import Unshown
from p01.memcache.transport import address
from p01.memcache.wire.limits import MAX_NUMBER


# Checks by kind of field, beyond those of its schema. Each raises.
_RULES = {
    Drained: address.parse_all,
    Lifetime: expiry,
    Namespace: str.encode,
    Servers: parse_all,
}


def check_attribute(field, value):
    """Raise a ValueError or TypeError unless the field may have `value`."""
    name = field.__name__
    shown = name if isinstance(field, Unshown) else (
        f'{name} {address.hide_secrets(repr(value))}')
    if isinstance(field, Choice) and value not in field.vocabulary:
        raise ValueError(f'{shown}: must be one of ' + ', '.join(
            term.value for term in field.vocabulary))
    if isinstance(field, Password):
        # `Credentials` checks user name and password together. The field
        # must not check it: its error would hold the password.
        if not isinstance(value, (str, type(None))):
            raise TypeError(f'{name}: must be str')
        return
    try:
        if isinstance(value, bool) != isinstance(field, Bool):
            raise WrongType(value, field._type, name)
        field.validate(value)
    except (WrongType, RequiredMissing):
        kind = (
            'a number' if field._type is Real
            else 'a name or an ISerializer' if isinstance(
                field, SerializerName)
            else field._type.__name__)
        raise TypeError(f'{shown}: must be {kind}') from None
    except (ValidationError, OverflowError) as error:
        raise ValueError(f'{shown}: {_rule(field, error)}') from None
    for kind, check in _RULES.items():
        if isinstance(field, kind) and value is not None:
            check(value)


def _rule(field, error):
    bounds = ', '.join(
        f'{word} {bound}' for word, bound in (
            ('at least', getattr(field, 'min', None)),
            ('at most', getattr(field, 'max', None)),
            ('at least', getattr(field, 'min_length', None) or None))
        if bound is not None)
    rule = error.doc() if isinstance(error, ValidationError) else error
    if isinstance(error, WrongContainedType):
        [wrong, *_] = error.errors
        rule = f'{address.hide_secrets(repr(wrong.value))}: {wrong.doc()}'
    return f'{rule} ({bounds})' if bounds else rule


def check_number(name, value):
    """Raise a ValueError unless memcached can count with the value."""
    if (not isinstance(value, int)
            or not 0 <= plain(value) <= MAX_NUMBER):
        raise ValueError(
            f'{name} {value!r}: must be a whole number from 0 to {MAX_NUMBER}')


def listed(name, values):
    """Return a list of the values; raise a TypeError for a single str."""
    if not isinstance(values, (str, bytes)):
        try:
            return list(values)
        except TypeError:
            pass
    raise TypeError(
        f'{name} {values!r}: must be a collection, such as a list')
