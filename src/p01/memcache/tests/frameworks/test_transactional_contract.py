# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Without a transaction under way, a transactional client is like any other.

It runs the scenarios of the other clients.
"""

import unittest

import transaction

from p01.memcache.tests.contract.matrix import CLASSIC_EMBEDDED
from p01.memcache.tests.contract.matrix import POOLED_EMBEDDED
from p01.memcache.tests.contract.test_commands import ServedCommandsScenario
from p01.memcache.tests.contract.test_conditions import DependenciesScenario
from p01.memcache.tests.contract.test_conditions import UnchangedScenario
from p01.memcache.tests.contract.test_contract import ServedScenario
from p01.memcache.tests.contract.test_invalidation import GenerationScenario
from p01.memcache.tests.contract.test_invalidation import (
    ServedDependencyScenario,
)
from p01.memcache.tests.contract.test_lookup import LookUpScenario
from p01.memcache.tests.contract.test_machine import MachineScenario
from p01.memcache.tests.contract.test_many import ManyScenario
from p01.memcache.tests.contract.test_regions import RegionsScenario
from p01.memcache.tests.support.variants import make
from p01.memcache.transactional import Transactional


SCENARIOS = (
    DependenciesScenario, GenerationScenario, LookUpScenario, MachineScenario,
    ManyScenario, RegionsScenario, ServedCommandsScenario,
    ServedDependencyScenario, ServedScenario, UnchangedScenario)


class NoTransaction:

    def setUp(self):
        transaction.abort()
        super().setUp()

    def makeClient(self, *args, **settings):
        return Transactional(super().makeClient(*args, **settings))

    def tearDown(self):
        self.assertIsNone(transaction.manager.manager._txn)
        super().tearDown()


for _cell in POOLED_EMBEDDED, CLASSIC_EMBEDDED:
    for _scenario in SCENARIOS:
        make(_scenario.__name__.removesuffix('Scenario') + _cell.name + 'Test',
             (NoTransaction, _scenario, _cell.server, unittest.TestCase),
             __name__, {
                 'factory': _cell.factory, 'interface': _cell.interface,
                 'level': 1 if _cell is POOLED_EMBEDDED else 2})

# Otherwise a loader would take the last one for a test case.
del _cell, _scenario
