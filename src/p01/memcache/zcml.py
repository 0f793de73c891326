# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directives of the package."""

import inspect
import warnings

# Once it is imported, events are handed to their handlers.
import zope.component.event
from zope import schema
from zope.component.zcml import Permission
from zope.component.zcml import handler
from zope.component.zcml import utility
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Bool
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import Path
from zope.interface import Interface
from zope.interface import implementer
from zope.interface.interface import InterfaceClass
from zope.schema import Password
from zope.schema.interfaces import IFromUnicode

from p01.memcache.facade.arguments import check_attribute
from p01.memcache.interfaces import File
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IMemcacheFlusher
from p01.memcache.interfaces import IMemcacheReader
from p01.memcache.interfaces import IMemcacheStatistics
from p01.memcache.interfaces import IMemcacheWriter
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheReader
from p01.memcache.interfaces import IUltraMemcacheStatistics
from p01.memcache.interfaces import Unshown
from p01.memcache.secret import Secret
from p01.memcache.secret import discreet
from p01.memcache.uclient import UltraMemcacheClient


# How a field's value is read from text, and what it is then; an Int is a
# Real, too. schema.Real would also read '1/3', as a Fraction.
_READERS = (
    (schema.Bool, Bool().fromUnicode, 'true or false'),
    (schema.Int, int, 'a whole number'),
    (schema.Real, float, 'a number'),
    (schema.List, str.split, 'words separated by blanks'),
    (schema.TextLine, str, 'text'),
    (schema.Choice, str, 'text'),
)

# The namespace of the directive `class`.
_ZOPE = 'http://namespaces.zope.org/zope'


class InvalidAttribute(schema.ValidationError):
    """The text of an attribute is not what its rule asks for."""


@implementer(IFromUnicode)
class ClientAttribute(schema.Field):
    """An attribute of the clients, as text.

    What it may be is said by its field in the clients' interface, and the
    errors are those of the clients' constructors.
    """

    def __init__(self, field):
        super().__init__(
            title=field.title, description=field.description, required=False)
        self._field = field
        self.is_discreet = isinstance(field, (Password, Unshown))
        self._read, self._kind = next(
            (read, kind) for type_, read, kind in _READERS
            if isinstance(field, type_))

    @discreet
    def fromUnicode(self, value):
        if self.is_discreet and not isinstance(self.context.info, str):
            # What errors tell of the directive: its place, without its text.
            self.context.info = repr(self.context.info)
        try:
            read = self._read(value)
        except (ValueError, schema.ValidationError):
            raise InvalidAttribute(
                f'{self.__name__} {value!r}: must be {self._kind}') from None
        if isinstance(self._field, File) and read:
            read = Path().bind(self.context).fromUnicode(read)
        try:
            check_attribute(self._field, read)
        except (TypeError, ValueError) as error:
            raise InvalidAttribute(str(error)) from None
        return Secret(read) if isinstance(self._field, Password) else read


class IRegistration(Interface):
    """How a client is made and registered."""

    factory = GlobalObject(
        title='Factory',
        description=(
            'Dotted name of a class or callable that makes the client. It '
            'is called with the attributes that are given, as keyword '
            'arguments. The default is the pooled client, '
            'p01.memcache.uclient.UltraMemcacheClient.'),
        required=False)

    name = schema.TextLine(
        title='Name',
        description='The name to look the client up with.',
        required=False)

    permission = Permission(
        title='Permission',
        description=(
            'The permission that code which is not trusted needs to use the '
            'client, instead of those that are declared for its class.'),
        required=False)

    readPermission = Permission(
        title='Permission to read',
        description=(
            'The permission for IMemcacheReader: values and attributes. '
            "Without it, that is 'permission'; without both, but with one of "
            'the other three, this part is closed.'),
        required=False)

    writePermission = Permission(
        title='Permission to write',
        description=(
            'In the same way, for IMemcacheWriter: to store, change and '
            'remove single values.'),
        required=False)

    flushPermission = Permission(
        title='Permission to flush',
        description=(
            'In the same way, for IMemcacheFlusher: to empty a namespace, or '
            'the servers, and to close connections.'),
        required=False)

    statisticsPermission = Permission(
        title='Permission for statistics',
        description=(
            'In the same way, for IMemcacheStatistics: figures about servers '
            'and connections.'),
        required=False)


def _attributes(is_discreet):
    fields = {
        name: ClientAttribute(field)
        for name, field in schema.getFieldsInOrder(IUltraMemcacheClient)}
    return {name: field for name, field in fields.items()
            if field.is_discreet is is_discreet}


# The attributes of the last base are read first: a permission already keeps
# what errors tell of the directive.
IDiscreetAttributes = InterfaceClass(
    'IDiscreetAttributes', (Interface,), _attributes(is_discreet=True),
    'The attributes that may hold a secret.', __name__)

IMemcacheDirective = InterfaceClass(
    'IMemcacheDirective', (IRegistration, IDiscreetAttributes),
    _attributes(is_discreet=False),
    'Register a memcache client as a utility, an `IMemcacheClient`.',
    __name__)


@discreet
def memcache(_context, factory=UltraMemcacheClient, name='', permission=None,
             readPermission=None, writePermission=None, flushPermission=None,
             statisticsPermission=None, **attributes):
    """See `IMemcacheDirective`. The client is made by the action."""
    try:
        inspect.signature(factory).bind(**attributes)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f'factory {factory!r}: {error}') from error

    @discreet
    def create():
        return factory(**attributes)

    if IUltraMemcacheClient.implementedBy(factory):
        client = IUltraMemcacheClient
        reader, statistics = IUltraMemcacheReader, IUltraMemcacheStatistics
    else:
        client = IMemcacheClient
        reader, statistics = IMemcacheReader, IMemcacheStatistics
    required = {}
    for part, own in (
            (client, permission),
            (reader, readPermission),
            (IMemcacheWriter, writePermission),
            (IMemcacheFlusher, flushPermission),
            (statistics, statisticsPermission)):
        if own is not None:
            required.update(dict.fromkeys(part.names(all=True), own))
    if required:
        create = _protected(create, required)
    utility(_context, IMemcacheClient, factory=create, name=name)


def _protected(create, required):
    """Return a factory of clients whose names require these permissions."""
    try:
        from zope.security.checker import Checker
        from zope.security.checker import CheckerPublic
        from zope.security.interfaces import PUBLIC_PERMISSION_NAME
        from zope.security.proxy import Proxy
    except ImportError:
        raise ConfigurationError(
            'a permission: zope.security is not available') from None
    checker = Checker({
        name: CheckerPublic if own == PUBLIC_PERMISSION_NAME else own
        for name, own in required.items()})

    def createProtected():
        client = create()
        try:
            client.__Security_checker__ = checker
        except AttributeError:  # it has slots
            client = Proxy(client, checker)
        return client

    return createProtected


class IDefaultPermissionDirective(Interface):
    """Define a permission, unless there is one of that id."""

    id = schema.Id(title='Id')
    title = schema.TextLine(title='Title')


def defaultPermission(_context, id, title):
    """See `IDefaultPermissionDirective`.

    Without a discriminator it is in nobody's way: an application's own
    definition may come before, after, or from zope.security.
    """
    _context.action(
        discriminator=None, callable=_definePermission,
        args=(id, title, _context.info))


def _definePermission(id, title, info):
    from zope.security.interfaces import IPermission
    from zope.security.permission import Permission
    if zope.component.queryUtility(IPermission, id) is None:
        handler('registerUtility', Permission(id, title), IPermission, id,
                info)


class IRequireToSetDirective(Interface):
    """Require a permission to set the attributes of a class.

    It is `set_schema` of the directive `class`, where that has it.
    """

    class_ = GlobalObject(title='Class')
    permission = schema.Id(title='Permission')
    schema = GlobalInterface(title='Schema')


def requireToSet(_context, class_, permission, schema):
    """See `IRequireToSetDirective`.

    Zope replaces the directive of zope.security by one of AccessControl,
    which protects no setting of attributes and warns about that at each start.
    """
    info = _context.info
    directive = _context.factory(_context, (_ZOPE, 'class'))
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The set_schema option ')
        item = directive(_context, {'class': _dotted(class_)}, info)
        item.contained((_ZOPE, 'require'), {
            'permission': permission, 'set_schema': _dotted(schema)}, info,
        ).finish()
        item.finish()


def _dotted(obj):
    return f'{obj.__module__}.{obj.__name__}'
