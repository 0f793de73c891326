# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What monitoring asks for: metrics and a health check, see README.txt."""
