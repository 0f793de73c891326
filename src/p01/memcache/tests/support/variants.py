# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Test cases that are generated, instead of classes with empty bodies."""

import sys


def make(name, bases, module, attributes):
    """Make a class in its module, where the test runner looks for it."""
    namespace = vars(sys.modules[module])
    assert name not in namespace, name
    namespace[name] = type(
        name, bases, {'__module__': module, **attributes})


def variant(suffix, *mixins, **attributes):
    """Decorate a test case: it also runs with these base classes."""
    def decorate(case):
        name = case.__name__.removesuffix('Test') + suffix + 'Test'
        make(name, (*mixins, case), case.__module__, attributes)
        return case

    return decorate
