# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The ZCML directives of the package."""

import inspect
import warnings

# Importing it makes `notify` call the registered handlers.
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

from p01.memcache.attributes.arguments import check_attribute
from p01.memcache.interfaces import File
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.interfaces import IMemcacheFlusher
from p01.memcache.interfaces import IMemcacheReader
from p01.memcache.interfaces import IMemcacheStatistics
from p01.memcache.interfaces import IMemcacheWriter
from p01.memcache.interfaces import ITransactional
from p01.memcache.interfaces import IUltraMemcacheClient
from p01.memcache.interfaces import IUltraMemcacheReader
from p01.memcache.interfaces import IUltraMemcacheStatistics
from p01.memcache.interfaces import Unshown
from p01.memcache.protection import in_zope
from p01.memcache.protection import protected
from p01.memcache.secret import Secret
from p01.memcache.secret import discreet
from p01.memcache.uclient import UltraMemcacheClient


# For each type of field: how to read its value from text, and how an error
# describes it. An Int is a Real, too, so it comes first. schema.Real itself
# would also read '1/3', as a Fraction.
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
    """The text of an attribute breaks the rule of its field."""


@implementer(IFromUnicode)
class ClientAttribute(schema.Field):
    """An attribute of a client, as text.

    Its field in the client's interface has the rule, and the errors are those
    of the client's constructor.
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
            # Errors show where the directive is, without quoting its text.
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
    """How to make and register a client."""

    factory = GlobalObject(
        title='Factory',
        description=(
            'The dotted name of a class, or of another callable, that makes '
            'the client. It is called with the given attributes as keyword '
            'arguments. The default is the pooled client, '
            'p01.memcache.uclient.UltraMemcacheClient.'),
        required=False)

    name = schema.TextLine(
        title='Name',
        description='The name by which to look up the client.',
        required=False)

    permission = Permission(
        title='Permission',
        description=(
            'The permission with which untrusted code may use the client, '
            'instead of those that are declared for its class.'),
        required=False)

    readPermission = Permission(
        title='Permission to read',
        description=(
            'The permission for IMemcacheReader: values and attributes. The '
            "default is 'permission'. Without both, but with one of the other "
            'three, untrusted code cannot use this part.'),
        required=False)

    writePermission = Permission(
        title='Permission to write',
        description=(
            'Likewise for IMemcacheWriter: to store, change and remove single '
            'values.'),
        required=False)

    flushPermission = Permission(
        title='Permission to flush',
        description=(
            'Likewise for IMemcacheFlusher: to empty a namespace, or the '
            'servers, and to close connections.'),
        required=False)

    statisticsPermission = Permission(
        title='Permission for statistics',
        description=(
            'Likewise for IMemcacheStatistics: the state of servers and '
            'connections.'),
        required=False)


def _attributes(is_discreet):
    fields = {
        name: ClientAttribute(field)
        for interface in (IUltraMemcacheClient, ITransactional)
        for name, field in schema.getFieldsInOrder(interface)}
    return {name: field for name, field in fields.items()
            if field.is_discreet is is_discreet}


# zope.configuration reads the attributes of the last base first. So the text
# of the directive is hidden before a permission keeps it for its errors.
IDiscreetAttributes = InterfaceClass(
    'IDiscreetAttributes', (Interface,), _attributes(is_discreet=True),
    'The attributes that may hold a secret.', __name__)

IMemcacheDirective = InterfaceClass(
    'IMemcacheDirective', (IRegistration, IDiscreetAttributes),
    _attributes(is_discreet=False),
    'Register a memcache client as a utility, an `IMemcacheClient`.',
    __name__)


@discreet
def memcache(_context, factory=UltraMemcacheClient, name='',
             permission=None, readPermission=None, writePermission=None,
             flushPermission=None, statisticsPermission=None, **attributes):
    """See `IMemcacheDirective`. Its action makes the client."""
    options = {name: attributes.pop(name) for name in ITransactional
               if name in attributes}
    transactional = options.pop('transactional', False)
    if options and not transactional:
        raise ConfigurationError(
            f'{", ".join(options)}: no effect unless it is transactional')
    try:
        inspect.signature(factory).bind(**attributes)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f'factory {factory!r}: {error}') from error

    @discreet
    def create():
        return factory(**attributes)

    if transactional:
        create = _transactional(create, options)
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
    if required or in_zope():
        create = protected(create, required)
    utility(_context, IMemcacheClient, factory=create, name=name)


def _transactional(create, options):
    """Return a factory of clients whose changes follow transactions."""
    try:
        from p01.memcache.transactional import Transactional
    except ImportError:
        raise ConfigurationError(
            'transactional: needs transaction, which the extra "transaction"'
            ' installs') from None
    return discreet(lambda: Transactional(create(), **options))


class IRegionOfClient(Interface):
    """Which region of which client to register."""

    name = schema.TextLine(
        title='Name',
        description='The name by which to look up the region.')

    client = schema.TextLine(
        title='Client',
        description=(
            'The name of its client, another IMemcacheClient utility. If that '
            'is a region, too, it comes before this one. The default is the '
            'unnamed one.'),
        required=False)

    region = schema.TextLine(
        title='Region',
        description=(
            'The name of the region itself, which all processes that share '
            'the cache must use. The default is its name.'),
        min_length=1,
        required=False)


IMemcacheRegionDirective = InterfaceClass(
    'IMemcacheRegionDirective', (IRegionOfClient,),
    {name: ClientAttribute(IMemcacheClient[name])
     for name in ('lifetime', 'keyScheme', 'generations')},
    'Register a region of a client as a utility, an `IMemcacheClient`.',
    __name__)


def memcacheRegion(_context, name, client='', region=None, **settings):
    """See `IMemcacheRegionDirective`. Its action makes the region."""
    def create():
        return zope.component.getUtility(IMemcacheClient, client).region(
            region or name, **settings)

    # Behind all clients, wherever these are registered.
    _context.action(
        discriminator=('utility', IMemcacheClient, name), callable=handler,
        args=('registerUtility', None, IMemcacheClient, name, _context.info),
        kw={'factory': create}, order=1)


class IDefaultPermissionDirective(Interface):
    """Define a permission, unless one with that id exists."""

    id = schema.Id(title='Id')
    title = schema.TextLine(title='Title')


def defaultPermission(_context, id, title):
    """See `IDefaultPermissionDirective`.

    Without a discriminator it never conflicts with the application's own
    definition, which may come before, after, or from zope.security.
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

    Like `set_schema` of the directive `class`, if that supports it.
    """

    class_ = GlobalObject(title='Class')
    permission = schema.Id(title='Permission')
    schema = GlobalInterface(title='Schema')


def requireToSet(_context, class_, permission, schema):
    """See `IRequireToSetDirective`.

    Zope replaces the directive of zope.security by that of AccessControl,
    which does not protect the setting of attributes, and warns about that at
    each start.
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
