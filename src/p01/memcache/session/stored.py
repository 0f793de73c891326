# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What memcached holds of a session.

It is plain data, for every serializer: a list of the time of the last access,
a name of its own for the change that made it, and ``{package: {key: value}}``.
In a process the values are flat: ``{(package, key): value}``.
"""

import uuid
from typing import Any
from typing import NamedTuple


# Seconds for which an empty session stays instead of one that was removed. A
# transaction that has read the session, and takes longer, would restore it.
_GRAVE = 600


class Stored(NamedTuple):
    """A session as it was found. Without a `token` there was none."""

    accessed: int = 0
    change: str | None = None
    values: dict[tuple[str, Any], Any] = {}
    token: str | None = None


def read(client, key):
    found, token = client.gets(key)
    try:
        accessed, change, packages = found
        return Stored(int(accessed), change, flatten(packages), token)
    except (AttributeError, TypeError, ValueError):
        return Stored(token=token)  # none, or something else


def write(client, key, former, accessed, values, lifetime):
    """Store values instead of the former session, unless that has changed.

    Returns a name of the change, and the result of `cas` or `add`.
    """
    change = uuid.uuid4().hex
    data = [accessed, change, _nest(values)]
    if not values:
        lifetime = _GRAVE
    if former.token is None:
        return change, client.add(key, data, lifetime)
    return change, client.cas(key, data, former.token, lifetime)


def flatten(packages):
    return {(package, key): value
            for package, data in packages.items()
            for key, value in data.items()}


def _nest(values):
    packages = {}
    for (package, key), value in values.items():
        packages.setdefault(package, {})[key] = value
    return packages
