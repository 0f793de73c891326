# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Serves a Zope by waitress: python -m ... zope.conf host port threads"""

import logging
import sys

import waitress
from Zope2.Startup.run import make_wsgi_app


def main(conf, host, port, threads):
    # It changes sys.argv's meaning: there are no options for Zope.
    del sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    waitress.serve(
        make_wsgi_app({}, conf), host=host, port=int(port),
        threads=int(threads), clear_untrusted_proxy_headers=True, _quiet=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
