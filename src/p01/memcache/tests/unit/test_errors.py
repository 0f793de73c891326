# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The attributes of errors."""

import copy
import unittest

from p01.memcache import errors
from p01.memcache.errors import ForbiddenGlobal
from p01.memcache.errors import InvalidationsPending
from p01.memcache.errors import MemcacheError
from p01.memcache.errors import ServerDown


class ErrorsTest(unittest.TestCase):

    def test_reported_elsewhere(self):
        # As a change of the server's state, which a refusal is not.
        self.assertEqual(
            {name for name, kind in vars(errors).items()
             if isinstance(kind, type) and issubclass(kind, MemcacheError)
             and kind.reported_elsewhere},
            {'ServerDown', 'InvalidationsPending', 'ProtocolError',
             'ConnectError', 'ConnectTimeout', 'AuthenticationError',
             'SendError', 'SendTimeout', 'ReceiveError', 'ReceiveTimeout'})

    def test_pending_invalidations(self):
        # Handled like a server that is down.
        error = InvalidationsPending('busy')
        self.assertIsInstance(error, ServerDown)
        self.assertIs(error.again, False)

    def test_a_copy_has_the_same_attributes(self):
        error = ForbiddenGlobal('os.system is not allowed')
        self.assertEqual(str(copy.copy(error)), str(error))
