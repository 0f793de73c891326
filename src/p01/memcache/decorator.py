# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A decorator for functions whose results are cached."""

import functools
import inspect

from zope.component import getUtility

from p01.memcache.facade.arguments import listed
from p01.memcache.features.lifetime import expiry
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import strict


def cached(lifetime=None, *, key=None, grace=None, dependencies=(), name=''):
    """Have a function called only where its result is not in the cache.

    `key` is called with the arguments of the function, and returns the key.
    By default it is made of the function's module, qualified name and
    arguments, with the key scheme "strict" whatever that of the client is, and
    no key that is made in another way equals it, whatever text it is. So
    a method needs a `key`, and so does a function of arguments that this
    scheme refuses with a ``TypeError``, or one that is not found by its name,
    as a lambda. ``function.key(...)`` is the key for some arguments, to
    invalidate it, ``function.__wrapped__`` is the function itself.

    `dependencies` are several str, or what is called with the arguments and
    returns them. They and `lifetime` and `grace` (seconds) are those of
    `IMemcacheClient.getOrCreate`.

    The client is looked up whenever the function is called, as the utility
    `name`. That there is none is a ``ComponentLookupError``.
    """
    if callable(lifetime):
        raise TypeError('cached: must be called, as in @cached(lifetime=60)')
    for title, seconds in ('lifetime', lifetime), ('grace', grace):
        if seconds is not None:
            expiry(seconds, title)
    if key is not None and not callable(key):
        raise TypeError(f'key {key!r}: must be callable')
    if not callable(dependencies):
        dependencies = tuple(listed('dependencies', dependencies))

    def decorate(function):
        _check(function, key)
        build = key or functools.partial(_build, function)

        @functools.wraps(function)
        def wrapper(*args, **kw):
            tags = dependencies
            if callable(tags):
                tags = tags(*args, **kw)
            return getUtility(IMemcacheClient, name).getOrCreate(
                build(*args, **kw), functools.partial(function, *args, **kw),
                lifetime, grace, tags)

        wrapper.key = build
        return wrapper

    return decorate


def _check(function, key):
    if not inspect.isfunction(function) or (
            inspect.iscoroutinefunction(function)
            or inspect.isasyncgenfunction(function)
            or inspect.isgeneratorfunction(function)):
        raise TypeError(
            f'cached {function!r}: must be a function that returns a value')
    if key is None and ('<' in function.__qualname__
                        or function.__name__ == '_'):
        raise TypeError(
            f'cached {function.__qualname__}: others may have the same name,'
            ' so it needs a key')


def _build(function, *args, **kw):
    """Return the same key for all ways to pass the same arguments."""
    call = inspect.signature(function).bind(*args, **kw)
    call.apply_defaults()
    # Those behind ** in one order.
    key = (function.__module__, function.__qualname__, call.args,
           sorted(call.kwargs.items()))
    try:
        # Not a pickle, which may differ where the arguments are equal.
        return strict.CallKey(strict.build(key, None))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f'cached {function.__qualname__}: its arguments make no key, so it'
            f' needs one ({error})') from error
