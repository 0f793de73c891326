# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A decorator for functions whose results are cached."""

import functools
import inspect

from zope.component import getUtility

from p01.memcache.attributes.arguments import listed
from p01.memcache.features.lifetime import expiry
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.keys import strict


def cached(lifetime=None, *, key=None, grace=None, dependencies=(), name=''):
    """Call a function only if its result is not in the cache.

    `key` is called with the arguments of the function, and returns the key.
    By default the key is built from the function's module, qualified name and
    arguments, with the key scheme "strict" whatever that of the client is. No
    other key equals it, whatever its text.

    A method needs a `key`. So does a function with arguments that this scheme
    rejects with a ``TypeError``, and a function without a unique name, such as
    a lambda. ``function.key(...)`` returns the key for some arguments, to
    invalidate it; ``function.__wrapped__`` is the undecorated function.

    `dependencies` are several str, or a callable that takes the arguments and
    returns them. They and `lifetime` and `grace` (seconds) are those of
    `IMemcacheClient.getOrCreate`.

    The client is looked up at each call, as the utility `name`; if it does not
    exist, that is a ``ComponentLookupError``.
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
            f'cached {function.__qualname__}: its name may not be unique,'
            ' so it needs a key')


def _build(function, *args, **kw):
    """Return the same key for all ways to pass the same arguments."""
    call = inspect.signature(function).bind(*args, **kw)
    call.apply_defaults()
    # The order of keyword arguments does not count.
    key = (function.__module__, function.__qualname__, call.args,
           sorted(call.kwargs.items()))
    try:
        # Not a pickle, which may differ although the arguments are equal.
        return strict.CallKey(strict.build(key, None))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f'cached {function.__qualname__}: its arguments cannot form a key,'
            f' so it needs a key ({error})') from error
