# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The documents as HTML: bin/docs, see ``build.py``."""
