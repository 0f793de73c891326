# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What tests share: a site for each scene, and a browser."""

import contextlib
import tempfile

from p01.memcache.tests.operation.processes import Toolkit


class Site:
    """An application of the Zope Toolkit that plays a scene."""

    __bases__ = ()

    def __init__(self, scene):
        self.__name__ = f'{type(self).__name__} {scene}'
        self.__module__ = __name__
        self._scene = scene

    def setUp(self):
        with contextlib.ExitStack() as stack:
            self.site = stack.enter_context(Toolkit(stack.enter_context(
                tempfile.TemporaryDirectory()), self._scene))
            self._stack = stack.pop_all()

    def tearDown(self):
        self._stack.close()


WELL, OUTAGE, LONG, HOSTILE, STALLED, NOTHING = map(
    Site, ('well', 'outage', 'long', 'hostile', 'stalled', 'nothing'))
