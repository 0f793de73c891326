# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The example's own package: one page, to see that the cache works."""
from setuptools import setup


setup(
    name='frontpage',
    version='1.0',
    packages=['frontpage'],
    package_dir={'': 'src'},
    package_data={'frontpage': ['*.zcml']},
    zip_safe=False,
    install_requires=['p01.memcache', 'Zope'],
)
