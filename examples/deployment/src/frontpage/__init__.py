# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A page that takes two seconds to compute, but only once a minute."""

import os
import time

from Products.Five.browser import BrowserView
from zope.component import getUtility

from p01.memcache.interfaces import IMemcacheClient


class FrontPage(BrowserView):

    def __call__(self):
        cache = getUtility(IMemcacheClient)
        return cache.getOrCreate('front-page', self._compute, lifetime=60)

    def _compute(self):
        time.sleep(2)
        return (f'Computed by process {os.getpid()} at'
                f' {time.strftime("%H:%M:%S")}\n')
