# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directives for plone.memoize."""

import zope.component
from plone.memoize.interfaces import ICacheChooser
from zope.component.zcml import utility
from zope.interface import Interface
from zope.interface.interface import InterfaceClass
from zope.schema import DottedName
from zope.schema import getFieldsInOrder

from p01.memcache.plone.chooser import chooseCache
from p01.memcache.plone.interfaces import IMemoizeSettings
from p01.memcache.plone.settings import MemoizeSettings
from p01.memcache.zcml import ClientAttribute


# After the registration of plone.memoize itself, wherever that is included.
_LATE = 1000


class IFunction(Interface):
    """Whose results."""

    function = DottedName(
        title='Function',
        description=(
            'The function as "module.function", or a method as '
            '"module.method", without its class. Without this attribute the '
            'directive is for all functions that have none of their own.'),
        required=False)


IMemoizeDirective = InterfaceClass(
    'IMemoizeDirective', (IFunction,),
    {name: ClientAttribute(field)
     for name, field in getFieldsInOrder(IMemoizeSettings)},
    'Configure how the results of a memoized function are kept.', __name__)


def memoize(_context, function='', **settings):
    """See `IMemoizeDirective`."""
    utility(_context, IMemoizeSettings, component=MemoizeSettings(**settings),
            name=str(function))


class IUseMemcachedDirective(Interface):
    """Use memcached for plone.memoize."""


def useMemcached(_context):
    """See `IUseMemcachedDirective`.

    Without a discriminator it is not in conflict with plone.memoize, which
    registers a chooser of its own.
    """
    _context.action(
        discriminator=None, callable=zope.component.provideUtility,
        args=(chooseCache, ICacheChooser), order=_LATE)
