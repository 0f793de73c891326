# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Attributes that are checked when they are set, and what follows them."""

import threading

from zope.schema import Password
from zope.schema.interfaces import IField

from p01.memcache.attribute import check_attribute
from p01.memcache.secret import Secret


class Configured:
    """Has the attributes that are fields of the interface ``_interface``.

    Once ``_is_made``, ``_follow(name)`` is called after one was set. If that
    fails, nothing has changed.
    """

    _is_made = False

    def __setattr__(self, name, value):
        field = self._interface.get(name)
        if IField.providedBy(field):
            value = _checked(field, value)
        if field is None or not self._is_made:
            super().__setattr__(name, value)
            return
        with self._setting:
            former = getattr(self, name)
            super().__setattr__(name, value)
            try:
                self._follow(name)
            except BaseException:
                super().__setattr__(name, former)
                raise

    def after_fork(self):
        self._setting = threading.RLock()  # a signal's handler may come back

    def _follow(self, name):
        """Make anew what depends on the attribute, or raise what is wrong."""


def _checked(field, value):
    """Return the value as it is kept."""
    if field.__name__ in ('servers', 'allow') and isinstance(
            value, (list, tuple)):
        value = list(value)
    if isinstance(value, Secret):
        value = value.reveal()
    check_attribute(field, value)
    if isinstance(field, Password) and value is not None:
        value = Secret(value)
    return value
