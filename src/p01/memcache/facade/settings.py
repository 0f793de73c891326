# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Attributes that are checked when they are set, and what follows them."""

import threading

from zope.interface.interfaces import IMethod
from zope.schema import Password
from zope.schema.interfaces import IField

from p01.memcache.facade.arguments import check_attribute
from p01.memcache.secret import Secret
from p01.memcache.secret import discreet
from p01.memcache.threads import fork
from p01.memcache.threads.lock import run_locked


class Configured:
    """Has the attributes that are fields of the interface ``_interface``.

    Once ``_is_made``, ``_follow(name)`` is called after one was set, on a copy
    that has it. Then all that has changed there is changed at once: whatever
    ends this before, the attributes and what follows them fit together.
    """

    _is_made = False

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        # Zope warns about a permission for what the class itself has not.
        for name, what in cls._interface.namesAndDescriptions(all=True):
            if not IMethod.providedBy(what) and not hasattr(cls, name):
                setattr(cls, name, None)

    def __init__(self, **attributes):
        for name, value in attributes.items():
            setattr(self, name, value)

    @discreet
    def __setattr__(self, name, value):
        if name.startswith('_'):
            super().__setattr__(name, value)
            return
        field = self._interface.get(name)
        if IField.providedBy(field):
            value = _checked(field, value)
        if field is None or not self._is_made:
            super().__setattr__(name, value)
            return
        fork.notice()
        run_locked(self._setting, self._set, name, value)

    def _set(self, name, value):
        while True:
            former = dict(self.__dict__)
            draft = object.__new__(type(self))
            draft.__dict__.update(former)
            # It may be a property of a subclass.
            super(Configured, draft).__setattr__(name, value)
            draft._follow(name)
            if all(self.__dict__.get(name) is value
                   for name, value in former.items()
                   if name in self._interface):
                break  # else a signal's handler has set another one
        self.__dict__.update({
            name: value for name, value in draft.__dict__.items()
            if former.get(name, draft) is not value})

    def after_fork(self):
        self._setting = threading.RLock()  # a signal's handler may come back

    def _follow(self, name):
        """Make anew what depends on the attribute, or raise what is wrong."""


def _checked(field, value):
    """Return the value as it is kept."""
    if field.__name__ in ('servers', 'allow') and isinstance(
            value, (list, tuple)):
        value = list(value)
    if not isinstance(field, Password):
        check_attribute(field, value)
        return value
    if isinstance(value, Secret):
        value = value.reveal()
    check_attribute(field, value)
    return None if value is None else Secret(value)
