# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A proxy in front of a server that is some milliseconds away.

It is a process of its own, so that it takes no time from what is measured.
Each request is held for the round trip; a reply passes at once. Requests must
be short: one that arrives in several pieces would be held for each of them.
"""

import contextlib
import multiprocessing
import socket
import threading
import time


def _pass(source, sink, delay):
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            if delay:
                time.sleep(delay)
            sink.sendall(data)
    for connection in (source, sink):
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _serve(upstream, delay, told):
    listening = socket.create_server(('127.0.0.1', 0), backlog=128)
    told.send(listening.getsockname()[1])
    while True:
        client = listening.accept()[0]
        server = socket.create_connection(upstream)
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink, seconds in (
                (client, server, delay), (server, client, 0)):
            threading.Thread(target=_pass, args=(source, sink, seconds),
                             daemon=True).start()


class DelayingProxy:
    """A context manager; ``address`` is that of `upstream`, `delay` seconds
    away.
    """

    def __init__(self, upstream, delay):
        host, port = upstream.split(':')
        told, tell = multiprocessing.Pipe(False)
        self._process = multiprocessing.get_context('spawn').Process(
            target=_serve, args=((host, int(port)), delay, tell), daemon=True)
        self._told = told

    def __enter__(self):
        self._process.start()
        if not self._told.poll(10):
            raise RuntimeError('the proxy does not listen')
        self.address = f'127.0.0.1:{self._told.recv()}'
        return self

    def __exit__(self, *exc_info):
        self._process.kill()
        self._process.join()
