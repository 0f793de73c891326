# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Tokens that prove that a form is ours, and of the same user."""

import hashlib
import hmac
import secrets
import time

from p01.memcache.errors import SerializationError


# Seconds that a question may wait for its answer.
LIFETIME = 600

# Where the processes of a site share a secret, and for how many seconds.
_PLACE, _DAY = 'p01.memcache.browser', 86400

# That of this process.
_own = secrets.token_hex(32)


def find_secret(client):
    """Return the secret of all processes that have this client.

    It is in memcached: a process that can read it there can empty it, too.
    Without memcached it is the secret of this process.
    """
    try:
        found = client.immediate().getOrCreate(_PLACE, lambda: _own, _DAY)
    except SerializationError:
        found = None
    return found if isinstance(found, str) else _own


def make(secret, *subject):
    """Return a token for what a user is asked."""
    return _sign(secret, str(int(time.time())), subject)


def is_valid(token, secret, *subject):
    """Return whether `make` has made the token, not long ago."""
    made, _, _ = token.partition('-')
    return (
        made.isascii() and made.isdigit() and len(made) < 20
        and 0 <= time.time() - int(made) <= LIFETIME
        and hmac.compare_digest(
            token.encode(errors='replace'),
            _sign(secret, made, subject).encode()))


def _sign(secret, made, subject):
    # Each part with its length: no two subjects are the same text.
    text = ''.join(f'{len(part)}:{part}' for part in (made, *subject))
    return made + '-' + hmac.new(
        *(part.encode(errors='surrogatepass') for part in (secret, text)),
        hashlib.sha256).hexdigest()
