# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The settings of every client: the attributes that ZCML can set."""

import pickle

from zope import schema
from zope.interface import Interface

from p01.memcache.configuration.field import File
from p01.memcache.configuration.field import Lifetime
from p01.memcache.configuration.field import Namespace
from p01.memcache.configuration.field import Seconds
from p01.memcache.configuration.field import Servers
from p01.memcache.configuration.field import Unshown
from p01.memcache.configuration.serializer import SerializerName


# The public path: interfaces are pickled, and shown, by it.
__name__ = 'p01.memcache.interfaces'


class IMemcacheSettings(Interface):
    """How a client is configured.

    An attribute can be set at any time, under the same rules as the
    constructor's argument of that name; the next operations use it. Only the
    constructor rejects a setting that has no effect without another one.
    """

    servers = Servers(
        title='Servers',
        description=(
            'Addresses of the servers: host, host:port, [ip6]:port or '
            'unix:/path; for the pooled client also tls://host:port, or a '
            'place that lists servers: config://host:port, the configuration '
            'endpoint of AWS ElastiCache or Google Memorystore; '
            'srv://_memcache._tcp.name, SRV records, for which dnspython is '
            'needed (the extra "srv"); or dns://name:port, all addresses of '
            'the name. With config+tls, srv+tls and dns+tls the servers are '
            'reached by TLS. The default port is 11211. A host name stands '
            'for one server, and may end with a dot; an IPv6 address may have '
            'a zone, as in [fe80::1%eth0]. A server is listed once, however '
            'it is spelled. A weight at the end, from 1 to 65535, gives a '
            'server more of the keys: host:port/?2 gets twice as many as the '
            'default, 1. All processes that share the cache must list the '
            'same servers in the same order and the same spelling. See '
            'cluster.txt.'),
        value_type=schema.TextLine(),
        min_length=1,
        default=['127.0.0.1:11211'])

    debug = schema.Int(
        title='Debug',
        description=(
            'Other than 0: log every operation that fails, with its '
            'traceback. With 0 a failure is logged once a minute, or once '
            "per change of a server's state. In both cases text from "
            'outside is escaped, and a record has the traceback as its '
            'exc_text, without the exception, which a handler could write '
            'unescaped.'),
        min=0,
        default=0)

    slow = Seconds(
        title='Slow',
        description=(
            'Seconds. An operation that takes longer is logged, with its '
            'command, key and server, and what it waited for; 20 of them a '
            'minute at most. It is also counted, see getCounts. None logs '
            'none.'),
        required=False,
        default=None)

    pickleProtocol = schema.Int(
        title='Pickle protocol',
        description=(
            'The pickle protocol of values, and of keys that are pickled; '
            "-1 is the interpreter's highest. Such keys change with it, so "
            'all processes that share the cache must use the same one.'),
        min=-1,
        max=pickle.HIGHEST_PROTOCOL,
        default=-1)

    lifetime = Lifetime(
        title='Lifetime',
        description=(
            'Seconds until a value expires, if a call gives no lifetime of '
            'its own. It may expire up to a second earlier, see set. 0 '
            'never expires.'),
        min=0,
        default=3600)

    namespace = Namespace(
        title='Namespace',
        description=(
            'A text in front of every key, which separates applications on '
            'the same servers. There is no delimiter: namespace "a" with '
            'key "bc" equals namespace "ab" with key "c", unless keyScheme '
            'is "strict".'),
        required=False,
        default=None)

    keyScheme = schema.Choice(
        title='Key scheme',
        description=(
            'How keys are built, see buildKey. "compatible" is the scheme '
            'of all releases of this package. "strict" keeps all keys '
            'distinct, and rejects keys that could differ between processes. '
            'All processes that share the cache must use the same scheme.'),
        values=('compatible', 'strict'),
        default='compatible')

    generations = schema.Bool(
        title='Generations',
        description=(
            'Enables invalidateNamespace. A key on the wire then ends with '
            "the namespace's generation, which is stored in memcached. Reads "
            'fetch it together with the values; every other operation needs '
            'one more round trip. While it cannot be read, changes that fail '
            'cannot be tracked by key, so the whole namespace is '
            'invalidated once its server is back. All processes that share '
            'the cache must have the same setting.'),
        default=False)

    serializer = SerializerName(
        title='Serializer',
        description=(
            'How objects become bytes: "pickle", as in all releases of this '
            'package; "json", for None, bool, int, float, str, and lists and '
            'dicts of these; the name of an ISerializer utility that is '
            'registered before the client is made; or an ISerializer. With '
            '"signed-" in front of a name, as in "signed-pickle", a value is '
            'only read if it was signed for its key with one of the secrets. '
            'A value that another serializer stored is a miss. With raw=True '
            'nothing is serialized or signed. See security.txt.'),
        min_length=1,
        default='pickle')

    secretsFile = File(
        title='Secrets file',
        description=(
            'A file of secrets for signatures, separated by blanks or new '
            'lines. Each has at least 32 bytes and 8 different characters, '
            'and does not begin with #. The first one signs, all of them '
            'verify. A file that others can write to is rejected; one that '
            'others can read or replace is logged. The file is read again '
            'when it has changed: that is checked once a second while values '
            'are signed or verified, and before a value counts as forged. If '
            'it is wrong then, the former secrets remain. See security.txt.'),
        min_length=1,
        required=False)

    secretsVariable = Unshown(
        title='Secrets variable',
        description=(
            'The name of an environment variable with these secrets, instead '
            'of the file.'),
        min_length=1,
        required=False)

    allow = schema.List(
        title='Allow',
        description=(
            'What pickles may refer to: modules ("shop.model"), for the '
            'classes that they define, or names ("shop.model.Item", '
            '"shop.model.load"). A pickle that refers to anything else is a '
            'miss. None, bool, int, float, complex, str, bytes, bytearray, '
            'tuple, list, dict, set, frozenset, range and slice are always '
            'allowed, made of one another only. With None every pickle is '
            'read. For "pickle" and "signed-pickle".'),
        value_type=schema.DottedName(),
        required=False,
        default=None)

    compress = schema.Int(
        title='Compress',
        description=(
            'The size in bytes from which a value is compressed, if that '
            'makes it smaller: by zstandard if it is installed (the extra '
            '"zstd"), otherwise by zlib. Install zstandard for all processes '
            'or for none: without it, a value that it compressed is a miss. '
            'None compresses nothing. Raw values are never compressed.'),
        min=1,
        required=False,
        default=None)

    maxValueSize = schema.Int(
        title='Largest value',
        description=(
            'The largest size of a value in bytes, before compression. A '
            'larger value is not stored, which is logged, and the value that '
            'it would have replaced is removed. One found in memcached is a '
            'miss. A reply that announces a larger value is not received: '
            'the connection is closed, and queryMany asks for the values '
            'after it again, ten times at most; then they are misses.'),
        min=1,
        max=1 << 30,
        default=1 << 26)
