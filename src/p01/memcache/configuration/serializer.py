# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The contract of a serializer, and the field that names one."""

from zope import schema
from zope.interface import Interface


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class ISerializer(Interface):
    """Converts objects to bytes, and bytes to objects.

    An application registers its own as a named utility; the setting
    `IMemcacheSettings.serializer` takes that name.
    """

    def dumps(key, obj):
        """Return ``(data, flags)`` for the object.

        `data` is bytes. `flags` is an int that tells `loads`, and other
        clients, what kind of bytes they are. The serializer of an application
        uses the bits 0 to 5 and 12 to 15; the others belong to this package.
        0 is a pickle.

        `key` is the result of `IMemcacheReader.buildKey`, as bytes. It
        covers the namespace.

        An exception means that the object cannot be serialized. The caller of
        `IMemcacheWriter.set` gets it as a ``SerializationError``.
        """

    def loads(key, data, flags):
        """Return the object.

        Any exception makes the value a miss. `loads` is also called for
        values with the flags of other clients, which it must reject.
        """


class IPersistentSerializer(ISerializer):
    """A serializer that can also serialize some persistent objects.

    It must know how to take them apart, and how to put them together: what it
    returns from `loads` belongs to no database. All other serializers, also
    those of this package, are never asked for one.
    """

    def takes(obj):
        """Return whether `dumps` can serialize this persistent object.

        It is asked for a value that is persistent, not for its parts, which
        are the serializer's own concern. If it returns anything that is not
        true, the value is a ``SerializationError``, as it is if this raises an
        exception. An object that is security-proxied or acquisition-wrapped is
        always one.
        """


class SerializerName(schema.TextLine):
    """The name of a serializer, or an `ISerializer` itself."""

    def _validate(self, value):
        if not ISerializer.providedBy(value):
            super()._validate(value)
