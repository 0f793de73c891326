# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The settings of a client: checked values that never change.

They are declared once, as the fields of the client's interface. Assigning to
a setting makes new `Settings` and a new `State`, in which all that depends on
the setting is made anew. They take effect in one step, together with the
attribute of the client.
"""

import threading

from zope.interface.interfaces import IMethod
from zope.schema import List
from zope.schema import Password
from zope.schema.interfaces import IField

from p01.memcache.attributes.arguments import check_attribute
from p01.memcache.secret import Secret
from p01.memcache.secret import discreet
from p01.memcache.threads import fork
from p01.memcache.threads.lock import run_locked


class Settings:
    """One read-only attribute for each setting."""

    def __init__(self, values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        raise AttributeError(f'{name}: settings are read-only, use replace()')

    def replace(self, **changes):
        """Return settings with these changes."""
        return Settings({**self.__dict__, **changes})


class Part:
    """A ``value`` that is made from some settings, and from other parts.

    ``make(settings, *values)`` makes it, with the values of `parts`. The part
    stands in for the settings and notes which of them are read meanwhile:
    when one of these changes, it has to be made anew.
    """

    def __init__(self, make, settings, *parts):
        self.parts = parts
        self._read = set().union(*(part._read for part in parts))
        self._settings = settings
        self.value = make(self, *(part.value for part in parts))
        self._settings = None

    def __getattr__(self, name):
        if name.startswith('_'):
            raise AttributeError(name)
        self._read.add(name)
        return getattr(self._settings, name)

    def depends_on(self, changed):
        """Return whether one of these settings was read to make it."""
        return not self._read.isdisjoint(changed)


class Configured:
    """Has the fields of the interface ``_interface`` as attributes.

    A subclass implements ``_make_state(settings, changed, former)``, which
    returns a new state with ``settings``, or raises if they are wrong.
    `changed` is the set of names that differ from the `former` state, which
    is None at first. ``_check()`` raises if the constructor's arguments do not
    fit together.
    """

    _state = None

    def __init_subclass__(cls, **kw):
        super().__init_subclass__(**kw)
        cls._names = frozenset(
            name for name, what in cls._interface.namesAndDescriptions(
                all=True) if not IMethod.providedBy(what))
        # On the class: Zope warns about a permission for an attribute that
        # only the instances have.
        for name in cls._names:
            if not hasattr(cls, name):
                setattr(cls, name, None)

    @discreet
    def __init__(self, **values):
        self.after_fork()
        fork.register(self)
        for name, value in values.items():
            setattr(self, name, value)
        self._check()
        # A subclass may have its own, or more of them.
        settings = Settings({name: getattr(self, name)
                             for name in self._names})
        self._state = self._make_state(settings, self._names, None)

    def after_fork(self):
        # Re-entrant, as a signal handler may assign, too.
        self._setting = threading.RLock()

    @discreet
    def __setattr__(self, name, value):
        field = self._interface.get(name)
        if IField.providedBy(field):
            value = checked(field, value)
        if self._state is None or name not in self._names:
            super().__setattr__(name, value)
        else:
            fork.notice()
            run_locked(self._setting, self._replace, name, value)

    def _replace(self, name, value):
        while True:
            former, before = self._state, dict(vars(self))
            # It may be a property of a subclass.
            draft = object.__new__(type(self))
            vars(draft).update(before)
            super(Configured, draft).__setattr__(name, value)
            state = self._make_state(
                former.settings.replace(**{name: getattr(draft, name)}),
                {name}, former)
            changed = {name: value for name, value in vars(draft).items()
                       if before.get(name, draft) is not value}
            changed['_state'], update = state, vars(self).update
            # Otherwise a signal handler has changed a setting: start over.
            # None runs before the update: the interpreter looks for signals
            # after calls.
            if self._state is former:
                update(changed)
                break
        self._lead()
        former.retire(state)

    def _lead(self):
        """Let others follow that use the state."""


def checked(field, value):
    """Return the value as it is kept."""
    if isinstance(field, List) and isinstance(value, (list, tuple)):
        value = list(value)
    if not isinstance(field, Password):
        check_attribute(field, value)
        return value
    if isinstance(value, Secret):
        value = value.reveal()
    check_attribute(field, value)
    return None if value is None else Secret(value)
