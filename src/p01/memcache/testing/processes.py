# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Servers for tests, each a process of its own."""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from time import monotonic

from p01.memcache.transport.address import parse


# The public path: objects are pickled, and layers are found, by it.
__name__ = 'p01.memcache.testing'

# Seconds to wait for a server to listen or answer; it takes milliseconds.
PATIENCE = 10

# Where servers get their ports: below those that the kernel gives connections,
# one of which might take a port before its server listens.
_PORTS = range(20_000, 32_000)


def free_ports(count):
    """Return ports of 127.0.0.1 on which nothing listens."""
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            # Not the ports of another process whose tests use the same seed.
            port = random.SystemRandom().choice(_PORTS)
            try:
                stack.enter_context(socket.create_server(('127.0.0.1', port)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                ports.append(port)
        return ports


def connect(address, timeout=PATIENCE):
    """Return a plain socket that is connected to the server."""
    server = parse(address)
    if not server.is_unix:
        return socket.create_connection((server.host, server.port), timeout)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(server.host)
    except BaseException:
        sock.close()
        raise
    return sock


def listens(address):
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    return True


class ServerProcess:
    """A server that is a process of its own, and a context manager.

    It listens on a free port of 127.0.0.1, which stays the same when it is
    started again, or on the unix socket ``path``. What it printed is in
    ``output`` once it is stopped. A subclass defines the ``program``, which
    must be the name of its Debian package as well, and its `arguments`.
    """

    program = port = path = process = None
    output = ''
    frozen = False
    _printed = None

    @property
    def address(self):
        if self.path is not None:
            return f'unix:{self.path}'
        return f'127.0.0.1:{self.port}'

    def find(self):
        """Return where the program is, or None."""
        return shutil.which(self.program)

    def arguments(self):
        """Return the arguments that make the program serve the address."""
        raise NotImplementedError

    def start(self):
        """Start the server, and wait until it listens, unless it runs."""
        if self._runs():
            return
        # One that ended by itself may have left its output or its socket.
        self.stop()
        command = self.find()
        if command is None:
            raise RuntimeError(
                f'There is no {self.program}: install it, with "apt-get'
                f' install {self.program}" for example, and put it on PATH.')
        if self.port is None and self.path is None:
            [self.port] = free_ports(1)
        # stop() closes it.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self.process = subprocess.Popen(
                (command, *self.arguments()), stdin=subprocess.DEVNULL,
                stdout=self._printed, stderr=subprocess.STDOUT)
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End the server at once, even if it is frozen."""
        if self._printed is None:
            return
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self._printed.seek(0)
        self.output = self._printed.read().decode(errors='replace')
        self._printed.close()
        self._printed = None
        self.frozen = False
        if self.path is not None and pathlib.Path(self.path).is_socket():
            os.unlink(self.path)

    def freeze(self):
        """Suspend the server until it is thawed; return once it stands still.

        The kernel still accepts connections for it, and what they send.
        """
        if not self._runs():
            raise RuntimeError(f'{self.program} does not run')
        # A second SIGSTOP changes nothing, so `waitpid` would not return.
        if not self.frozen:
            self.process.send_signal(signal.SIGSTOP)
            os.waitpid(self.process.pid, os.WUNTRACED)
            self.frozen = True

    def thaw(self):
        """Resume the server, if it is frozen."""
        if self.frozen:
            self.process.send_signal(signal.SIGCONT)
            self.frozen = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def _runs(self):
        return self.process is not None and self.process.poll() is None

    def _wait(self):
        end = monotonic() + PATIENCE
        while not listens(self.address):
            # There is no signal for it, so poll, unless the process has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.005)
            if not self._runs():
                self.stop()
                raise RuntimeError(
                    f'{self.program} ended with status'
                    f' {self.process.returncode}: {self.output.strip()}')
            if monotonic() > end:
                raise RuntimeError(
                    f'{self.program} does not listen on {self.address}')


class Memcached(ServerProcess):
    """A private memcached: ``with Memcached() as server: ...``

    The options are those of the command ``memcached``. If this process runs
    as root, the server runs as the user ``nobody``: the folder of ``path``
    must be writable for that user, and the files that the options name must
    be readable. Only that user and root can connect to the ``path``.
    """

    program = 'memcached'

    def __init__(self, *options, port=None, path=None):
        self.options = options
        self.port = port
        self.path = path

    def arguments(self):
        if self.path is None:
            where = ('-l', '127.0.0.1', '-p', str(self.port), '-U', '0')
        else:
            where = ('-s', os.fspath(self.path))
        user = ('-u', 'nobody') if os.geteuid() == 0 else ()
        return (*where, *user, *self.options)
