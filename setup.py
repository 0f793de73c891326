# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Setup for the p01.memcache package."""
import re
from pathlib import Path

from setuptools import find_namespace_packages
from setuptools import setup


def read(name):
    return (Path(__file__).parent / name).read_text(encoding='utf-8')


def description():
    """Return the long description, without pictures: it has no files."""
    text = re.sub(
        r'^\.\. image::.*\n(   .*\n)+\n', '', read('README.txt'),
        flags=re.MULTILINE)
    return text + '\n\n' + read('CHANGES.txt')


setup(
    name='p01.memcache',
    version='1.0.0.dev0',
    description='Memcached client utilities for Zope and the Zope'
                ' Component Architecture',
    long_description=description(),
    long_description_content_type='text/x-rst',
    author='p01.memcache contributors',
    license_expression='ZPL-2.1',
    license_files=['LICENSE.txt', 'COPYRIGHT.txt'],
    keywords='zope zcml memcache memcached cache client pool',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Web Environment',
        'Framework :: Plone :: 6.0',
        'Framework :: Plone :: 6.1',
        'Framework :: Plone :: 6.2',
        'Framework :: Zope :: 3',
        'Framework :: Zope :: 5',
        'Framework :: Zope :: 6',
        'Intended Audience :: Developers',
        'Intended Audience :: System Administrators',
        'Natural Language :: English',
        'Operating System :: OS Independent',
        'Programming Language :: Python',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Programming Language :: Python :: 3.14',
        'Programming Language :: Python :: 3.15',
        'Programming Language :: Python :: Implementation :: CPython',
        'Topic :: Internet :: WWW/HTTP',
        'Typing :: Typed',
    ],
    packages=find_namespace_packages('src', include=['p01.memcache*']),
    package_dir={'': 'src'},
    include_package_data=True,
    zip_safe=False,
    python_requires='>=3.11',
    install_requires=[
        # Older releases depend on six; we test with this one.
        'python-memcached >= 1.62',
        'zope.component',
        'zope.configuration',
        'zope.event',
        'zope.interface',
        'zope.schema',
    ],
    extras_require={
        # For bin/benchmark, and the clients that it measures.
        'benchmark': [
            # It has no other wheels for Linux.
            'libmc; sys_platform == "linux" and platform_machine == "x86_64"',
            # Two of its dependencies have no wheel for 3.15 yet.
            'matplotlib; python_version < "3.15"',
            'pillow',
            'pymemcache',
            'tqdm',
        ],
        # For browser.zcml, outside of Zope.
        'browser': [
            'zope.browserpage',
            'zope.location',
            'zope.publisher',
            'zope.security',
            'zope.traversing',
        ],
        # What memcache-client draws with.
        'console': [
            'rich >= 13',
        ],
        # For <p01:dependencies>, outside of Zope.
        'content': [
            'zope.lifecycleevent',
        ],
        'demo': [
            'tqdm',
        ],
        # For bin/docs: the documents as HTML.
        'docs': [
            'Sphinx >= 8',
            'furo',
        ],
        # p01.memcache.dogpile
        'dogpile': [
            'dogpile.cache >= 1.1.2',
        ],
        # For bin/fuzz, which it guides by the code that replies reach.
        'fuzz': [
            # It has no other wheels.
            'atheris; python_version < "3.14" and sys_platform == "linux"'
            ' and platform_machine == "x86_64"',
        ],
        # p01.memcache.mcdutils, for sessions of Zope.
        'mcdutils': [
            'Products.mcdutils',
        ],
        # p01.memcache.metrics.opentelemetry
        'opentelemetry': [
            'opentelemetry-api',
        ],
        # Other clients, for comparison.
        'peers': [
            # It has no other wheels.
            'pylibmc; python_version < "3.12" and sys_platform == "linux"'
            ' and platform_machine == "x86_64"',
        ],
        'plone': [
            'plone.memoize',
            'zope.ramcache',
        ],
        # p01.memcache.metrics.prometheus
        'prometheus': [
            'prometheus_client',
        ],
        # p01.memcache.ramcache
        'ramcache': [
            'zope.ramcache',
        ],
        'security': [
            'zope.component[security]',
            'zope.security',
        ],
        # p01.memcache.session, for zope.session.
        'session': [
            'ZODB',
            'transaction',
            'zope.location',
            'zope.session',
        ],
        # For servers that are listed by SRV records. Older releases fail at
        # the first forged answer.
        'srv': [
            'dnspython >= 2.6.1',
        ],
        'test': [
            'Acquisition',
            'dnspython',
            'gevent',
            'hypothesis',
            'persistent',
            'trustme',
            'zope.security',
            'zope.testing',
            'zope.testrunner',
            # There is no wheel for 3.15 yet.
            'zstandard; python_version < "3.15"',
        ],
        # Changes that follow the transaction.
        'transaction': [
            'transaction >= 3.0',
        ],
        # Dependencies as fresh as a snapshot of the database.
        'zodb': [
            'ZODB',
            'transaction',
        ],
        'zstd': [
            'zstandard',
        ],
    },
    entry_points={
        'console_scripts': [
            'memcache-client = p01.memcache.console.main:main',
        ],
        # Not this package, but the one within it. z3c.autoinclude, which
        # Plone 5 used, has no such option.
        'plone.autoinclude.plugin': [
            'target = plone',
            'module = p01.memcache.plone',
        ],
        'dogpile.cache': [
            'p01.memcache = p01.memcache.dogpile.backend:Backend',
        ],
    },
)
