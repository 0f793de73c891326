# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Permissions of untrusted code to use a client.

zope.security checks them where an object is proxied, and AccessControl, the
security of Zope 2 and later, where a script or a template that was edited
through the web uses it. A client has what both of them look for.
"""

import contextlib
import sys

import zope.component
from zope.component.hooks import getSite
from zope.configuration.exceptions import ConfigurationError


# What AccessControl looks for, behind a name.
_ROLES = '__roles__'

# What it takes for anybody, and for nobody.
_PUBLIC, _PRIVATE = None, ()


def in_zope():
    """Return whether this is Zope, which imports it long before any ZCML."""
    return 'AccessControl' in sys.modules


def protected(create, required):
    """Return a factory of clients that untrusted code may use.

    `required` maps names to permissions; all others are forbidden. If it is
    empty, the declarations of the client's class hold.
    """
    checker = _checker(required) if required else None

    def createProtected():
        client = create()
        if in_zope():
            _declare(client, required, checker)
        elif checker is not None:
            try:
                client.__Security_checker__ = checker
            except AttributeError:  # a class with __slots__
                from zope.security.proxy import Proxy
                client = Proxy(client, checker)
        return client

    return createProtected


def _checker(required):
    try:
        from zope.security.checker import Checker
        from zope.security.checker import CheckerPublic
    except ImportError:
        raise ConfigurationError(
            'permission: needs zope.security, which the extra "security"'
            ' installs') from None
    return Checker({
        name: CheckerPublic if _is_public(own) else own
        for name, own in required.items()})


def _is_public(permission):
    return permission in ('zope.Public', 'zope2.Public')


# AccessControl

def _declare(client, required, checker):
    """Give the client a class of its own, with declarations.

    AccessControl looks for them only there. A client that cannot have one
    stays closed.
    """
    kind = type(client)
    body = {'__slots__': (), '__module__': kind.__module__,
            '__qualname__': kind.__qualname__, '__doc__': kind.__doc__}
    if not hasattr(kind, '__parent__'):
        body['__parent__'] = property(_site)
    if required:
        # Instead of those of the class.
        body.update((name, _PRIVATE) for name in dir(kind)
                    if name.endswith(_ROLES) and name != _ROLES)
        body.update((name + _ROLES, _PUBLIC if _is_public(own)
                     else Roles(own)) for name, own in required.items())
        body['__Security_checker__'] = checker
    with contextlib.suppress(TypeError):
        client.__class__ = type(kind)(kind.__name__, (kind,), body)


def _site(client):
    """Return where a client is, to AccessControl.

    The client belongs to no site. Its permissions are those that are granted
    at the site of the request, or at the root.
    """
    site = getSite()
    if site is None:
        from zope.globalrequest import getRequest
        request = getRequest()
        if request is not None:
            *_, site = request.get('PARENTS') or [None]
    return site


class Roles:
    """What AccessControl asks for the roles that a permission is granted to.

    It would compare them to those of a user where the value is that was found
    by a name; but a number, such as the lifetime, is nowhere. So the question
    is answered here.
    """

    def __init__(self, permission):
        self._permission = permission

    def rolesForPermissionOn(self, client):
        from AccessControl.SecurityManagement import getSecurityManager
        from zope.security.interfaces import IPermission
        title = zope.component.getUtility(IPermission, self._permission).title
        return (_PUBLIC if getSecurityManager().checkPermission(title, client)
                else _PRIVATE)
