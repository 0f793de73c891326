# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of what identifies an object of content."""

from zope.interface import Attribute
from zope.interface import Interface


class IContentIdentity(Interface):
    """What identifies an object of content. An application may adapt its own.

    Security proxies and acquisition wrappers make no difference, except that
    a wrapper may be needed to find the path.
    """

    uid = Attribute(
        'A text that no other object of the application ever has, and that '
        'the object keeps for its life; None as long as it has none. By '
        'default its UUID of plone.uuid, otherwise its ``_p_oid`` with the '
        'name of its database, otherwise its number of zope.intid. (The last '
        'comes last because it is gone when an object is removed.)')

    path = Attribute(
        'Where the object is, from the root of the database, such as '
        '``/shop/shoes``; None if it is nowhere, as before it is added to a '
        'container. By default that of ``getPhysicalPath()``, otherwise that '
        "of zope.traversing's ``ILocationInfo``.")

    type = Attribute(
        'What kind of object it is. By default its ``portal_type``, otherwise '
        'the dotted name of its class.')
