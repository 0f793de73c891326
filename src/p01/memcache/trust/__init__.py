# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Trust: certificates, passwords and secrets, and the files they are in."""
