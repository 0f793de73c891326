# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What is the same for all contenders: keys, pickles, time-outs, the pool."""

import hashlib
import pickle


TIMEOUT = 3
LIFETIME = 3600

# The connections of those whose pool has a bound.
POOL = 50


def build(key):
    return hashlib.md5(key.encode()).hexdigest()


def dump(value):
    return pickle.dumps(value, -1)


def split(address):
    host, port = address.split(':')
    return host, int(port)
