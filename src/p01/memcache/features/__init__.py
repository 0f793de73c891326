# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What a client does beyond get and set: namespaces, dependencies, computing.
"""
