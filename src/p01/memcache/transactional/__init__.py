# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Changes that follow the transaction: made after its commit, or never.

They need the package `transaction` (the extra "transaction").
"""

from p01.memcache.extra import extra


with extra('transaction'):
    from p01.memcache.transactional.client import Transactional


__all__ = ['Transactional']
