# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The path to the part of a key, or of a value, that is refused."""


class Refused(Exception):
    """Becomes an error of this kind once the path to the part is known."""

    path = ''

    def __init__(self, kind: type[Exception], reason: object) -> None:
        self.kind = kind
        self.reason = reason

    def error(self, whole: str) -> Exception:
        return self.kind(f'{whole}{self.path}: {self.reason}')
