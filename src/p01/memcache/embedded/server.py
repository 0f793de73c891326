# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The embedded server: a listening socket and a thread of its own."""

import asyncio
import socket
import threading

from p01.memcache.embedded.session import Session
from p01.memcache.embedded.storage import Storage


#: Seconds between two sweeps for expired items.
SWEEP_INTERVAL = 60
#: Bytes of replies that are collected before they are written.
BATCH = 64 * 1024


class Connection(asyncio.Protocol):
    """One client's socket, and its session."""

    def __init__(self, storage):
        self.storage = storage
        self.session = Session(storage)
        self.paused = False
        self.call_soon = asyncio.get_running_loop().call_soon

    def connection_made(self, transport):
        self.transport = transport
        self.storage.connections.add(self)
        self.storage.counters['total_connections'] += 1

    def connection_lost(self, exc):
        self.storage.connections.discard(self)

    def data_received(self, data):
        self.storage.counters['bytes_read'] += len(data)
        self.session.receive(data)
        self.answer()

    def pause_writing(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_writing(self):
        self.paused = False
        self.transport.resume_reading()
        self.answer()

    def answer(self):
        """Reply until input is missing or the client lags behind."""
        if self.paused or self.transport.is_closing():
            return
        batch = self.session.reply(BATCH)
        if self.session.ended:
            # After the batch, and not from within resume_writing().
            self.call_soon(self.transport.close)
        elif len(batch) >= BATCH:
            # Let others have their turn.
            self.call_soon(self.answer)
        if batch:
            self.storage.counters['bytes_written'] += len(batch)
            self.transport.write(batch)


class EmbeddedServer:
    """A server in a thread of its own: `with EmbeddedServer() as server: ...`

    It listens on `host` and `port`. Port 0 takes a free port; it is known,
    and kept, from the first start on. An item has at most `maxItemSize`
    bytes, with its key and memcached's bookkeeping. Each start begins with an
    empty storage, as a restarted memcached does.

    The list `cluster` holds texts like ``'host|ip|port'``, and may be changed
    at any time. It makes the server a configuration endpoint: that is what
    `config get cluster` lists, as of version 1. While it is empty the command
    is unknown, as it is to memcached.
    """

    def __init__(self, host='127.0.0.1', port=0, maxItemSize=1024 * 1024,
                 cluster=()):
        self.host = host
        self.port = port
        self.maxItemSize = maxItemSize
        self.cluster = list(cluster)
        self._thread = None

    @property
    def address(self):
        return f'{self.host}:{self.port}'

    def start(self):
        """Accept connections; an OSError says that the port is in use."""
        listener = socket.create_server((self.host, self.port))
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = self._loop.create_future()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), daemon=True,
            name=f'{type(self).__name__} {self.address}')
        self._thread.start()

    def stop(self):
        """Close every socket and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set_result, None)
            thread.join()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.stop()

    def _run(self, listener):
        try:
            self._loop.run_until_complete(self._serve(listener))
        finally:
            self._loop.close()

    async def _serve(self, listener):
        storage = Storage(self.maxItemSize, self.cluster)
        server = await self._loop.create_server(
            lambda: Connection(storage), sock=listener)
        while not self._stopping.done():
            await asyncio.wait([self._stopping], timeout=SWEEP_INTERVAL)
            storage.sweep()
        # A connection that is being accepted is a task, which is lost if the
        # server is closed first.
        self._loop.remove_reader(listener)
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*accepting, return_exceptions=True)
        server.close()
        for connection in storage.connections:
            connection.transport.abort()
        while storage.connections:
            await asyncio.sleep(0)
