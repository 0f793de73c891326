# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""An application of the Zope Toolkit, served by waitress:
python -m ... PORT LOG SCENE [SERVER...]

It has the parts that an application has: a root, publication by traversal,
principals, and a security policy. "boss" may do everything, "guest" may see
the page.
"""

import logging
import sys

import waitress
import zope.component
from zope.configuration import xmlconfig
from zope.container.folder import Folder
from zope.interface import alsoProvides
from zope.interface import implementer
from zope.location.interfaces import IRoot
from zope.publisher.browser import BrowserRequest
from zope.publisher.browser import setDefaultSkin
from zope.publisher.interfaces import IPublication
from zope.publisher.publish import publish
from zope.security import management
from zope.security.interfaces import IInteraction
from zope.security.interfaces import Unauthorized
from zope.security.proxy import ProxyFactory
from zope.traversing.interfaces import IContainmentRoot
from zope.traversing.publicationtraverse import PublicationTraverser

from p01.memcache.interfaces import IMemcacheClient
from p01.memcache.tests.operation import load
from p01.memcache.tests.operation import scenes


SITE = """
<configure xmlns="http://namespaces.zope.org/zope">
  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="meta.zcml" />
  <include package="zope.security" file="permissions.zcml" />
  <include package="zope.publisher" />
  <include package="zope.traversing" />
  <include package="zope.traversing.browser" />
  <include package="p01.memcache" file="browser.zcml" />
  <include package="p01.memcache" file="health.zcml" />
  <include package="p01.memcache" file="prometheus.zcml" />
</configure>
"""

GRANTED = {
    'boss': {'p01.memcache.View', 'p01.memcache.Empty'},
    'guest': {'p01.memcache.View'}}


class Principal:

    def __init__(self, id):
        self.id = id
        self.groups = ()


@implementer(IInteraction)
class Policy:
    """Grants what a principal of the request is granted here."""

    def __init__(self, *participations):
        self.participations = list(participations)
        for participation in participations:
            participation.interaction = self

    def add(self, participation):
        self.participations.append(participation)

    def checkPermission(self, permission, object):
        return all(permission in GRANTED.get(one.principal.id, ())
                   for one in self.participations)


@implementer(IPublication)
class Publication(PublicationTraverser):

    def __init__(self, root):
        self._root = root

    def beforeTraversal(self, request):
        login, _ = request._authUserPW() or (b'', b'')
        request.setPrincipal(Principal(login.decode()))
        management.newInteraction(request)

    def getApplication(self, request):
        return ProxyFactory(self._root)

    def callTraversalHooks(self, request, ob):
        pass

    def getDefaultTraversal(self, request, ob):
        return ob.browserDefault(request) if hasattr(
            ob, 'browserDefault') else (ob, ())

    def afterTraversal(self, request, ob):
        pass

    def callObject(self, request, ob):
        return ob()

    def afterCall(self, request, ob):
        pass

    def endRequest(self, request, ob):
        management.endInteraction()

    def handleException(self, ob, request, exc_info, retry_allowed=True):
        response = request.response
        response.reset()
        if isinstance(exc_info[1], Unauthorized):
            response.setStatus(401)
            response.setHeader('WWW-Authenticate', 'Basic realm="Zope"')
            response.setResult('')
        else:
            response.handleException(exc_info)


def application(clients):
    """Return the application, by WSGI. `clients` are its utilities."""
    management.setSecurityPolicy(Policy)
    xmlconfig.string(SITE)
    for name, client in clients.items():
        zope.component.provideUtility(client, IMemcacheClient, name)
    root = Folder()
    alsoProvides(root, IRoot, IContainmentRoot)
    publication = Publication(root)

    def serve(environ, start_response):
        request = BrowserRequest(environ['wsgi.input'], environ)
        setDefaultSkin(request)
        request.setPublication(publication)
        response = publish(request).response
        start_response(response.getStatusString(), response.getHeaders())
        return response.consumeBodyIter()

    return serve


def main(port, log, scene, *addresses):
    """Serve a scene; with addresses, a client of these servers under load."""
    logging.basicConfig(
        filename=log, format='%(asctime)s %(levelname)s %(name)s %(message)s')
    clients = (getattr(scenes, scene) if not addresses
               else getattr(load, scene))(*addresses)
    waitress.serve(application(clients), host='127.0.0.1', port=int(port),
                   threads=4, _quiet=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
