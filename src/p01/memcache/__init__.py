# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A memcached client for Zope and the Zope Component Architecture.

An application imports from the modules at the top: ``interfaces``, ``client``,
``uclient``, ``decorator``, ``event``, ``errors``, ``zcml``, ``testing`` and
``embedded``. Below them are the rooms of the house. A room imports only from
those below it, see ``tests/unit/test_house.py``; start to read where your
change is.

============== ============================================================
``facade``     what an operation means to its caller
``attributes`` the settings of a client as its attributes, and their rules
``features``   namespaces, dependencies, values that are computed once
``leases``     the right to compute a value, and waiting for its owner
``trouble``    what fails, which is logged and counted, and never raised
``counts``     what a client has done, in numbers, and what took long
``keys``       any Python object as a memcached key
``values``     Python objects as bytes and flags: pickles, JSON, signatures
``membership`` which servers there are, and what a change of them means
``cluster``    the pooled store: which server for which key, and all at once
``discovery``  places that list servers, and what they list
``health``     what is known of a server, and what it has not heard of
``classic``    the thread-local store, on python-memcached
``store``      the interface of both, and its rule of what is not certain
``transport``  one connection: address, dialling, streams, TLS, login
``trust``      certificates, passwords and secrets, from files that change
``wire``       bytes as commands and replies, without socket, lock or clock
``threads``    what threads share: pool, turn, lock; and what a fork ends
============== ============================================================

What Zope, its transactions and other frameworks need is in rooms of its own,
which no other room knows. Each needs a package of its own (an extra):

=================  ========================================================
``transactional``  changes that follow the transaction
``snapshots``      versions of dependencies, dated by the database's commits
``content``        names of content, and the events that change it
``plone``          plone.memoize's cache
``ramcache``       zope.ramcache's cache
``session``        zope.session's sessions, which follow the transaction
``face``           a look-alike of python-memcached's client
``mcdutils``       Zope's SESSION, by Products.mcdutils on the look-alike
``dogpile``        a backend of dogpile.cache
=================  ========================================================

What an operator looks at:

============  =============================================================
``observed``  the clients, their regions, and what their servers say
``browser``   the page @@memcache
``metrics``   what Prometheus and OpenTelemetry read; a health check
``stored``    what is under a key: described, never executed
``console``   the command memcache-client; needs the extra ``console``
============  =============================================================

``configuration`` declares the settings, for ``interfaces``, the contract.
``embedded``, a server in this process, knows none of them; ``testing`` has
the fakes.
"""
