# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A part of a key, or of a value, that is refused, and its place in that."""


class Refused(Exception):
    """Becomes an error of the kind, when it is known where it stands."""

    place = ''

    def __init__(self, kind, reason):
        self.kind = kind
        self.reason = reason

    def error(self, whole):
        return self.kind(f'{whole}{self.place}: {self.reason}')
