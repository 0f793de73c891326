# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""What the test servers share: a listening socket and one asyncio thread.

Everything that happens to a socket happens in that one thread; a test calls
plain methods, which return when the thread has done what was asked.
"""
import asyncio
import contextlib
import select
import socket
import struct
import threading


HOST = '127.0.0.1'
LIMIT = 5.0  # the most seconds that a test waits for the thread


class Listener:
    """Accepts connections on a free port of the loopback interface.

    A context manager. ``opened``, ``current`` and ``most`` count the
    connections so far, now and the most at one time.
    """

    address = None
    backlog = 128

    def __init__(self):
        self.opened = self.current = self.most = 0
        self._changed = threading.Condition()
        self._socket = None
        self._tasks = set()

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=type(self).__name__,
            daemon=True)
        self._thread.start()
        try:
            self.accept()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info):
        self.refuse()
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT)
        self._loop.close()

    # the listening socket

    def accept(self):
        """Listen (again, on the same port) and accept connections."""
        self._call(self._accept)

    def ignore(self):
        """Keep listening, but accept nothing; the kernel still connects."""
        self._call(self._ignore)

    def refuse(self):
        """Stop listening: new connections are refused."""
        self._call(self._refuse)

    # the connections

    def cut(self, how='rst'):
        """Close every connection with FIN (``fin``) or RST (``rst``)."""
        self._call(self._cut, how)

    def wait(self, condition, timeout=LIMIT):
        """Wait for ``condition()``, checked whenever something happens.

        Returns its last result.
        """
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    async def serve(self, sock):
        """Talk to one client until it is gone; a subclass implements it."""
        raise NotImplementedError

    # in the thread

    def _call(self, function, *args):
        return asyncio.run_coroutine_threadsafe(
            function(*args), self._loop).result(LIMIT)

    async def _accept(self):
        if self._socket is None:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setblocking(False)
            port = self.address.rpartition(':')[2] if self.address else 0
            try:
                sock.bind((HOST, int(port)))
                sock.listen(self.backlog)
            except OSError:
                sock.close()
                raise
            self._socket = sock
            self.address = '{}:{}'.format(*sock.getsockname())
        self._loop.add_reader(self._socket, self._accept_one)

    async def _ignore(self):
        if self._socket is not None:
            self._loop.remove_reader(self._socket)

    async def _refuse(self):
        await self._ignore()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _cut(self, how):
        await ended(*self._tasks, message=how)

    def _accept_one(self):
        try:
            sock = self._socket.accept()[0]
        except OSError:  # closed before it was accepted
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened += 1
        self.current += 1
        self.most = max(self.most, self.current)
        task = self._loop.create_task(self._connection(sock))
        self._tasks.add(task)
        # Not in the task itself: one that is cancelled before it starts runs
        # nothing, not even its ``finally``.
        task.add_done_callback(lambda task: self._gone(task, sock))
        self._tell()

    async def _connection(self, sock):
        how = 'fin'
        try:
            how = await self.serve(sock) or how
        except asyncio.CancelledError as exc:
            how = exc.args[0] if exc.args and exc.args[0] else 'rst'
        except OSError:
            how = 'rst'
        finally:
            close(sock, how)

    def _gone(self, task, sock):
        sock.close()
        self._tasks.discard(task)
        self.current -= 1
        self._tell()

    def _tell(self):
        with self._changed:
            self._changed.notify_all()


async def until_first_ends(*pumps):
    """Run coroutines until one ends; return a list of the tasks that ended."""
    pumps = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        done, _ = await asyncio.wait(
            pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended(*pumps)
    return list(done)


async def ended(*tasks, message=None):
    """Cancel the tasks and wait for their end, whatever they raise."""
    for task in tasks:
        task.cancel(message)
    await asyncio.gather(*tasks, return_exceptions=True)


def close(sock, how):
    """Close with FIN, or with RST."""
    with contextlib.suppress(OSError):
        if how == 'rst':
            linger = struct.pack('ii', 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            sock.shutdown(socket.SHUT_WR)
            # Bytes left unread would turn the FIN into an RST.
            while sock.recv(1 << 16):
                pass
    sock.close()


@contextlib.contextmanager
def full_backlog():
    """The address of a listening socket that drops every further SYN."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        # Fill the queue until the kernel leaves a connection hanging.
        for _ in range(8):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            if not select.select([], [sock], [], 0.1)[1]:
                break
        yield '{}:{}'.format(*listener.getsockname())
