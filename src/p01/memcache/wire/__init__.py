# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What goes over the wire: bytes to commands and replies, and back."""
