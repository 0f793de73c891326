# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Build and start examples/deployment, and do what its README.txt says."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request


HERE = pathlib.Path(__file__).resolve().parent.parent
FOLDER = HERE / 'examples' / 'deployment'
PORTS = 'instance1', 'instance2', 'zeo', 'supervisor'


def free_ports(count):
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def get(port):
    """Return the front page, and the seconds that it took."""
    start = time.monotonic()
    with urllib.request.urlopen(
            f'http://127.0.0.1:{port}/front-page', timeout=30) as reply:
        page = reply.read().decode()
    assert page.startswith('Computed by process '), page
    return page, time.monotonic() - start


def wait_for(port):
    """Wait until an instance serves the page; return it."""
    end = time.monotonic() + 90
    while True:
        try:
            return get(port)[0]
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def control(*words):
    subprocess.run(
        [FOLDER / 'bin' / 'supervisorctl', *words], check=True, timeout=60)


def main():
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    subprocess.run(
        [sys.executable, 'bootstrap.py', '-c',
         'examples/deployment/buildout.cfg',
         *(f'ports:{name}={port}' for name, port in ports.items()),
         *(['site:account=root'] if os.getuid() == 0 else [])],
        cwd=HERE, check=True, stdout=subprocess.DEVNULL, timeout=600)
    first, second = ports['instance1'], ports['instance2']
    supervisor = subprocess.Popen([FOLDER / 'bin' / 'supervisord', '-n'])
    try:
        for port in first, second:
            wait_for(port)
        page, seconds = get(first)
        assert seconds < 1, seconds
        assert get(second)[0] == page, 'the instances share no cache'
        control('stop', 'memcached')
        other, seconds = get(second)
        assert other != page and seconds > 2, (other, seconds)
        control('start', 'memcached')
        end = time.monotonic() + 30
        while get(first)[0] != get(second)[0]:
            assert time.monotonic() < end, 'memcached is not used again'
    finally:
        supervisor.terminate()
        supervisor.wait(60)


if __name__ == '__main__':
    main()
