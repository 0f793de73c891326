# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Events of content, and the names of what they change."""

import functools
import sys
import types
import unittest

import transaction
import zope.component
from OFS.Application import Application
from OFS.Folder import Folder
from OFS.OrderedFolder import OrderedFolder
from OFS.SimpleItem import SimpleItem
from persistent import Persistent
from plone.uuid.interfaces import IUUID
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.configuration.exceptions import ConfigurationError
from zope.container.contained import Contained
from zope.container.contained import notifyContainerModified
from zope.container.folder import Folder as ZopeFolder
from zope.event import notify
from zope.interface import implementer
from zope.interface.interfaces import ComponentLookupError
from zope.interface.interfaces import IObjectEvent
from zope.interface.interfaces import ObjectEvent
from zope.intid import IntIds
from zope.intid.interfaces import IIntIds
from zope.keyreference.interfaces import IKeyReference
from zope.lifecycleevent import modified
from zope.security.checker import NamesChecker
from zope.security.interfaces import ForbiddenAttribute
from zope.security.proxy import Proxy
from zope.traversing.interfaces import IContainmentRoot

from p01.memcache.content import IContentIdentity
from p01.memcache.content import changedNames
from p01.memcache.content import dependenciesOf
from p01.memcache.content import listingName
from p01.memcache.content import pathName
from p01.memcache.content import typeName
from p01.memcache.content import uidName
from p01.memcache.content import zcml as directives
from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.testing import FakeUltraMemcacheClient
from p01.memcache.tests.support.zcml import ZCMLTestCase
from p01.memcache.tests.support.zcml import load
from p01.memcache.tests.support.zcml import setUpZCML
from p01.memcache.tests.support.zcml import tearDownZCML


HERE = __name__

DEPENDENCIES = '<p01:dependencies for="*" />'

ZOPE = """
<include package="zope.component" file="meta.zcml" />
<include package="zope.security" file="meta.zcml" />
<subscriber for="zope.location.interfaces.ILocation
                 zope.lifecycleevent.interfaces.IObjectMovedEvent"
    handler="zope.container.contained.dispatchToSublocations" />
<adapter
    for="zope.container.interfaces.IReadContainer"
    provides="zope.location.interfaces.ISublocations"
    factory="zope.container.contained.ContainerSublocations" />
<adapter
    for="*"
    provides="zope.location.interfaces.ILocationInfo"
    factory="zope.location.traversing.LocationPhysicallyLocatable" />
<adapter
    for="zope.traversing.interfaces.IContainmentRoot"
    provides="zope.location.interfaces.ILocationInfo"
    factory="zope.location.traversing.RootPhysicallyLocatable" />
"""

OFS = '<include package="OFS" file="event.zcml" />'


class Recorder:
    """A client that records what it is asked to invalidate."""

    def __init__(self):
        self.names = []

    def invalidateDependencies(self, *names):
        self.names.extend(names)


class Item(Contained, Persistent):
    pass


class IPublished(IObjectEvent):
    """An application's own event."""


@implementer(IPublished)
class Published(ObjectEvent):
    pass


def configure(case, directives=DEPENDENCIES):
    load(ZOPE + OFS + directives)
    case.recorder = Recorder()
    zope.component.provideUtility(case.recorder, IMemcacheClient)


class ContentTestCase(ZCMLTestCase):

    def setUp(self):
        super().setUp()
        configure(self)

    def changes(self, change, *args, **kw):
        """Return the names that a change invalidates, but for the types."""
        self.recorder.names.clear()
        change(*args, **kw)
        return {name for name in self.recorder.names
                if not name.startswith('type:')}


class ZopeTest(ContentTestCase):
    """Content of zope.container."""

    def setUp(self):
        super().setUp()
        db = DB(MappingStorage(), database_name='main')
        self.addCleanup(db.close)
        self.addCleanup(transaction.abort)
        connection = db.open()
        self.root = connection.root.root = ZopeFolder()
        zope.interface.alsoProvides(self.root, IContainmentRoot)
        self.shop = self.root['shop'] = ZopeFolder()
        self.shoes = self.shop['shoes'] = ZopeFolder()
        self.boot = self.shoes['boot'] = Item()
        self.root['old'] = ZopeFolder()
        transaction.commit()

    def test_names(self):
        self.assertEqual(pathName(self.boot), 'path:/shop/shoes/boot')
        self.assertEqual(pathName(self.root), 'path:/')
        self.assertEqual(listingName(self.shop), 'listing:/shop')
        self.assertEqual(typeName(self.boot), f'type:{HERE}.Item')
        self.assertEqual(typeName('Document'), 'type:Document')
        oid = self.boot._p_oid.hex()
        self.assertEqual(uidName(self.boot), f'uid:main-{oid}')
        self.assertEqual(dependenciesOf(self.boot, self.boot), (
            f'uid:main-{oid}', 'path:/shop/shoes/boot'))

    def test_names_have_no_blanks(self):
        self.shop['Grüße & more'] = Item()
        self.assertEqual(
            pathName(self.shop['Grüße & more']),
            'path:/shop/Gr%C3%BC%C3%9Fe%20%26%20more')

    def test_a_security_proxy(self):
        zope.component.provideAdapter(
            lambda obj: obj.__name__, (Item,), IUUID)
        self.boot.portal_type = 'Boot'
        boot = Proxy(self.boot, NamesChecker([]))
        with self.assertRaises(ForbiddenAttribute):
            boot.portal_type  # noqa: B018
        self.assertEqual(
            dependenciesOf(boot), ('uid:boot', 'path:/shop/shoes/boot'))
        self.assertEqual(typeName(boot), 'type:Boot')

    def test_names_of_any_text(self):
        """An event never fails, whatever its object is called."""
        self.shop['\ud800'] = Item()
        self.assertEqual(
            pathName(self.shop['\ud800']), 'path:/shop/%ED%A0%80')
        for portal_type in len, '', 5:
            self.boot.portal_type = portal_type
            self.assertEqual(typeName(self.boot), f'type:{HERE}.Item')
        zope.component.provideAdapter(lambda obj: 5, (Item,), IUUID)
        self.assertIn('uid:5', self.changes(modified, self.boot))

    def test_there_is_no_name(self):
        item = Item()
        for name, what in (
                (uidName, 'uid'), (pathName, 'path'), (listingName, 'path')):
            with self.assertRaisesRegex(ValueError, f'has no {what}$'):
                name(item)
        with self.assertRaisesRegex(ValueError, 'has no uid, and no path'):
            dependenciesOf(self.boot, item)

    def test_modified(self):
        self.assertEqual(self.changes(modified, self.boot), {
            uidName(self.boot), 'path:/shop/shoes/boot',
            'listing:/shop/shoes'})
        self.assertIn(f'type:{HERE}.Item', self.recorder.names)

    def test_modified_root(self):
        self.assertEqual(self.changes(modified, self.root), {
            uidName(self.root), 'path:/'})

    def test_modified_nowhere(self):
        self.changes(modified, Item())
        self.assertEqual(self.recorder.names, [f'type:{HERE}.Item'])

    def test_added(self):
        changed = self.changes(self.shoes.__setitem__, 'sandal', Item())
        # The container is modified, too.
        self.assertEqual(changed, {
            'path:/shop/shoes/sandal', 'listing:/shop/shoes/sandal',
            uidName(self.shoes), 'path:/shop/shoes', 'listing:/shop/shoes',
            'listing:/shop'})

    def test_added_below(self):
        # An address whose page was "not found".
        folder = ZopeFolder()
        folder['item'] = Item()
        self.assertIn('path:/shop/hats/item', self.changes(
            self.shop.__setitem__, 'hats', folder))

    def test_removed(self):
        uids = {uidName(self.boot), uidName(self.shoes)}
        changed = self.changes(self.shop.__delitem__, 'shoes')
        self.assertLessEqual(uids | {
            'path:/shop/shoes/boot', 'path:/shop/shoes', 'listing:/shop',
            'listing:/shop/shoes'}, changed)

    def move(self, name, target, newName):
        """Move as zope.copypastemove does."""
        source = self.shop
        item = source[name]
        # The name is that of the new place before the old one is left.
        target[newName] = item
        del source[name]

    def test_moved(self):
        uids = {uidName(self.boot), uidName(self.shoes)}
        changed = self.changes(
            self.move, 'shoes', self.root['old'], 'worn')
        self.assertLessEqual(uids | {
            'path:/shop/shoes', 'path:/shop/shoes/boot', 'listing:/shop',
            'path:/old/worn', 'path:/old/worn/boot', 'listing:/old'}, changed)

    def test_order_changed(self):
        self.assertEqual(
            self.changes(notifyContainerModified, self.shoes),
            {uidName(self.shoes), 'path:/shop/shoes', 'listing:/shop/shoes',
             'listing:/shop'})

    def test_own_identity(self):
        @implementer(IContentIdentity)
        class Own:
            uid, path, type = 'isbn-1', '/books/1', 'Book'

            def __init__(self, context):
                pass

        zope.component.provideAdapter(Own, (Item,))
        self.assertEqual(dependenciesOf(self.boot), (
            'uid:isbn-1', 'path:/books/1'))
        self.assertEqual(self.changes(modified, self.boot), {
            'uid:isbn-1', 'path:/books/1', 'listing:/books'})

    def test_intid(self):
        """For what is not in the ZODB."""
        @functools.total_ordering
        class Row:
            key_type_id = 'row'

            def __call__(self):
                return self

            def __hash__(self):
                return 1

            def __eq__(self, other):
                return self is other

            def __lt__(self, other):
                return False

        numbers, row = IntIds(), Row()
        zope.component.provideUtility(numbers, IIntIds)
        with self.assertRaisesRegex(ValueError, 'has no uid'):
            uidName(row)
        zope.component.provideAdapter(lambda row: row, (Row,), IKeyReference)
        with self.assertRaisesRegex(ValueError, 'has no uid'):
            uidName(row)
        number = numbers.register(row)
        self.assertEqual(uidName(row), f'uid:{number}')
        self.assertEqual(uidName(self.boot)[:9], 'uid:main-')

    def test_uuid(self):
        zope.component.provideAdapter(lambda obj: 'f00d', (Item,), IUUID)
        self.assertEqual(uidName(self.boot), 'uid:f00d')


class Thing(SimpleItem):

    portal_type = 'Document'

    def __init__(self, id):
        self.id = id


class OFSTest(ContentTestCase):
    """Content of Zope: acquisition, and OFS's own events."""

    def setUp(self):
        super().setUp()
        db = DB(MappingStorage())
        self.addCleanup(db.close)
        self.addCleanup(transaction.abort)
        connection = db.open()
        self.app = connection.root.Application = Application()
        self.app._setObject('shop', OrderedFolder('shop'))
        self.app.shop._setObject('shoes', Folder('shoes'))
        self.app.shop._setObject('hats', Folder('hats'))
        self.app.shop.shoes._setObject('boot', Thing('boot'))
        transaction.commit()
        self.shop = self.app.shop

    def test_names(self):
        boot = self.shop.shoes.boot
        self.assertEqual(pathName(boot), 'path:/shop/shoes/boot')
        self.assertEqual(pathName(self.app), 'path:/')
        self.assertEqual(typeName(boot), 'type:Document')
        self.assertEqual(
            uidName(boot), f'uid:unnamed-{boot.aq_base._p_oid.hex()}')

    def test_unwrapped(self):
        with self.assertRaisesRegex(ValueError, 'has no path'):
            pathName(self.shop.shoes.boot.aq_base)

    def test_modified(self):
        boot = self.shop.shoes.boot
        self.assertEqual(self.changes(modified, boot), {
            uidName(boot), 'path:/shop/shoes/boot', 'listing:/shop/shoes'})
        self.assertIn('type:Document', self.recorder.names)

    def test_added(self):
        self.assertLessEqual(
            {'path:/shop/sale', 'listing:/shop'},
            self.changes(self.shop._setObject, 'sale', Thing('sale')))

    def test_removed(self):
        uids = {uidName(self.shop.shoes), uidName(self.shop.shoes.boot)}
        self.assertLessEqual(uids | {
            'path:/shop/shoes', 'path:/shop/shoes/boot', 'listing:/shop'},
            self.changes(self.shop._delObject, 'shoes'))

    def test_order_changed(self):
        self.assertIn('listing:/shop', self.changes(
            self.shop.moveObjectsToBottom, ['shoes']))

    def test_renamed(self):
        # As manage_renameObject does, whose permissions need a user.
        from OFS.event import ObjectWillBeMovedEvent
        from zope.lifecycleevent import ObjectMovedEvent

        def rename():
            shop, shoes = self.shop, self.shop.shoes
            notify(ObjectWillBeMovedEvent(
                shoes, shop, 'shoes', shop, 'boots'))
            shop._delObject('shoes', suppress_events=True)
            shoes = shoes.aq_base
            shoes._setId('boots')
            shop._setObject('boots', shoes, set_owner=0, suppress_events=True)
            notify(ObjectMovedEvent(
                shop.boots, shop, 'shoes', shop, 'boots'))

        uids = {uidName(self.shop.shoes), uidName(self.shop.shoes.boot)}
        self.assertEqual(self.changes(rename), uids | {
            'path:/shop/shoes', 'path:/shop/shoes/boot', 'listing:/shop',
            'path:/shop/boots', 'path:/shop/boots/boot',
            # What is cached by the listings of the folder itself.
            'listing:/shop/shoes', 'listing:/shop/boots',
            'listing:/shop/shoes/boot', 'listing:/shop/boots/boot'})


class DirectiveTest(ZCMLTestCase):

    def test_own_event(self):
        configure(self, f'''
            <p01:dependencies for="{HERE}.Thing"
                events="{HERE}.IPublished" />''')
        notify(Published(Folder('other')))
        self.assertEqual(self.recorder.names, [])
        notify(Published(Thing('thing')))
        self.assertEqual(self.recorder.names, ['type:Document'])

    def test_for(self):
        configure(self, f'<p01:dependencies for="{HERE}.Thing" />')
        modified(Folder('other'))
        self.assertEqual(self.recorder.names, [])

    def test_workflow(self):
        # Neither package is here, nor imported by its users for that.
        class IActionSucceededEvent(IObjectEvent):
            pass

        @implementer(IActionSucceededEvent)
        class Succeeded(ObjectEvent):
            pass

        name = 'Products.CMFCore'
        for each in name, f'{name}.interfaces':
            if each in sys.modules:
                self.skipTest('CMFCore is here')
            sys.modules[each] = types.ModuleType(each)
            self.addCleanup(sys.modules.pop, each)
        sys.modules[each].IActionSucceededEvent = IActionSucceededEvent
        import Products
        Products.CMFCore = sys.modules[name]
        self.addCleanup(delattr, Products, 'CMFCore')
        sys.modules[name].interfaces = sys.modules[each]
        configure(self)
        notify(Succeeded(Thing('thing')))
        self.assertEqual(self.recorder.names, ['type:Document'])

    def test_cache_name(self):
        configure(self, '<p01:dependencies for="*" cacheName="pages" />')
        with self.assertRaises(ComponentLookupError):
            modified(Thing('thing'))
        pages = Recorder()
        zope.component.provideUtility(pages, IMemcacheClient, 'pages')
        modified(Thing('thing'))
        self.assertEqual(pages.names, ['type:Document'])
        self.assertEqual(self.recorder.names, [])

    def test_no_event_is_known(self):
        known, directives.EVENTS = directives.EVENTS, ('nowhere.IEvent',)
        self.addCleanup(setattr, directives, 'EVENTS', known)
        with self.assertRaisesRegex(ConfigurationError, 'none is named'):
            load(DEPENDENCIES)

    def test_values(self):
        """What depends on an object is a miss once the object is modified."""
        configure(self)
        clients = [FakeUltraMemcacheClient(namespace=name) for name in 'ab']
        for client in clients:
            zope.component.provideUtility(
                client, IMemcacheClient, client.namespace)
        for client in clients:
            client.set('documents', 1, dependencies=[typeName('Document')])
            client.set('files', 1, dependencies=[typeName('File')])
        modified(Thing('thing'))
        for client in clients:
            self.assertEqual(
                client.queryMany(['documents', 'files']), {'files': 1})


class ChangedNamesTest(unittest.TestCase):
    """The public function, which a proxy's purge uses as well."""

    def setUp(self):
        setUpZCML(self)
        self.addCleanup(tearDownZCML, self)

    def test_an_event_without_a_move(self):
        thing = Thing('thing')
        self.assertEqual(
            changedNames(thing, ObjectEvent(thing)), ['type:Document'])


