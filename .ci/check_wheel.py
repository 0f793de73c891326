# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Checks that the installed package works on its own, without a checkout.

    python -I check_wheel.py [--security]

It loads the package's ZCML and makes a round trip through a utility that the
directive has registered, on the package's own embedded server. With --security
it expects zope.security, which must not be installed otherwise.
"""
import importlib.util
import pathlib
import sys

from zope.component import getUtility
from zope.configuration import xmlconfig

import p01.memcache
from p01.memcache.embedded import EmbeddedServer
from p01.memcache.interfaces import IMemcacheClient


ZCML = """\
<configure
    xmlns="http://namespaces.zope.org/zope"
    xmlns:p01="http://namespaces.zope.org/p01"
    xmlns:zcml="http://namespaces.zope.org/zcml"
    i18n_domain="p01">

  <include package="zope.component" file="meta.zcml" />
  <include package="zope.security" file="permissions.zcml"
      zcml:condition="installed zope.security" />
  <include package="p01.memcache" file="meta.zcml" />
  <include package="p01.memcache" file="configure.zcml" />

  <p01:memcache name="" servers="%s" />

</configure>
"""


def main(arguments):
    expected = '--security' in arguments
    found = importlib.util.find_spec('zope.security') is not None
    assert found == expected, f'zope.security: {found}, not {expected}'
    folder = pathlib.Path(p01.memcache.__file__).parent
    assert 'site-packages' in folder.parts, folder
    assert (folder / 'py.typed').is_file(), 'its annotations are not known'

    with EmbeddedServer() as server:
        xmlconfig.string(ZCML % server.address)
        client = getUtility(IMemcacheClient)
        assert client.query('key') is None
        assert client.set('key', {'a': 'value'}) is not None
        assert client.query('key') == {'a': 'value'}
        client.invalidate('key')
        assert client.query('key') is None
    print('The wheel works', 'with' if found else 'without', 'zope.security')


if __name__ == '__main__':
    main(sys.argv[1:])
