# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
from p01.memcache.embedded.session import COMMANDS  # noqa: F401
from p01.memcache.embedded.session import VERSION  # noqa: F401
from p01.memcache.embedded.session import Connection  # noqa: F401
from p01.memcache.embedded.session import EmbeddedServer  # noqa: F401
from p01.memcache.embedded.session import Storage  # noqa: F401
