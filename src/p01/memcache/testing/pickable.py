# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An object for tests to cache."""


# The public path: objects are pickled, and layers are found, by it.
__name__ = 'p01.memcache.testing'


class Pickable:
    """Something that can be pickled."""

    def __init__(self, title='', value=None):
        self.title = title
        self.value = value

    def __repr__(self):
        return f'<{type(self).__name__} {self.title!r}>'
