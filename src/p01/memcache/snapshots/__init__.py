# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Values that are exactly as fresh as the snapshot of a transaction.

A version is dated by the last commit of the database when it was made, and a
commit destroys the versions of what it changes before it is made, see
`p01.memcache.snapshots.versions`. ``tools/model.py`` tries every interleaving.
"""
