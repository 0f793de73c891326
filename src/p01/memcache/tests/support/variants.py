# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Test cases that are made, where a class statement would have no body."""

import sys


def make(name, bases, module, attributes):
    """Make a class where the test runner looks for it, in its module."""
    namespace = vars(sys.modules[module])
    assert name not in namespace, name
    namespace[name] = type(
        name, bases, {'__module__': module, **attributes})


def variant(suffix, *mixins, **attributes):
    """Decorate a test case: it also runs with these, under a longer name."""
    def decorate(case):
        name = case.__name__.removesuffix('Test') + suffix + 'Test'
        make(name, (*mixins, case), case.__module__, attributes)
        return case

    return decorate
