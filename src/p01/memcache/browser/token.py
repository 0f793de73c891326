# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Tokens that prove that a form is ours, and of the same user."""

import hashlib
import hmac
import secrets
import time


# Seconds that a question may wait for its answer.
LIFETIME = 600

# Of this process. Another one does not know it, and asks again.
_key = secrets.token_bytes(32)


def make(*subject):
    """Return a token for what a user is asked."""
    return _sign(str(int(time.time())), subject)


def is_valid(token, *subject):
    """Return whether `make` has made the token, not long ago."""
    made, _, _ = token.partition('-')
    return (
        made.isascii() and made.isdigit() and len(made) < 20
        and 0 <= time.time() - int(made) <= LIFETIME
        and hmac.compare_digest(
            token.encode(errors='replace'), _sign(made, subject).encode()))


def _sign(made, subject):
    # Each part with its length: no two subjects are the same text.
    text = ''.join(f'{len(part)}:{part}' for part in (made, *subject))
    return made + '-' + hmac.new(
        _key, text.encode(errors='surrogatepass'), hashlib.sha256).hexdigest()
