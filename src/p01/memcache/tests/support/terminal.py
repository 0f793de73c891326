# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The command memcache-client as a process: in pipes, or in a terminal."""

import contextlib
import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from time import monotonic

from p01.memcache.console.main import execute


#: Seconds for a command, on a busy machine.
LIMIT = 30

MAIN = 'from p01.memcache.console.main import main; main()'

_ESCAPES = re.compile(r'\x1b(?:\[[0-9;?]*[a-zA-Z]|.)')


def environment(**more):
    """Return the environment, without what would change the output."""
    own = {name: value for name, value in os.environ.items()
           if name not in ('MEMCACHE_SERVERS', 'NO_COLOR', 'FORCE_COLOR',
                           'COLUMNS', 'LINES', 'TERM')}
    return {**own, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path)),
            'PYTHONIOENCODING': 'utf-8', **more}


def start(*words, main=MAIN, env=(), **kw):
    """Return the process of a command, whose output is a pipe."""
    return subprocess.Popen(
        [sys.executable, '-c', main, *words], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(**dict(env)), encoding='utf-8', **kw)


def run(*words, **kw):
    """Return the exit status of a command, its output and its errors."""
    with start(*words, **kw) as process:
        output, errors = process.communicate(timeout=LIMIT)
    return process.returncode, output, errors


def call(*words):
    """Like `run`, in this process: faster, but without pipes and signals."""
    output, errors = io.StringIO(), io.StringIO()
    with (contextlib.redirect_stdout(output),
          contextlib.redirect_stderr(errors)):
        status = execute(words)
    return status, output.getvalue(), errors.getvalue()


class Terminal:
    """A command in a terminal of this width. ``output`` is all it has shown.
    """

    def __init__(self, *words, width=80, **env):
        self.output = ''
        arguments = [sys.executable, '-c', MAIN, *words]
        env = environment(**{'TERM': 'xterm-256color', **env})
        self.pid, self._file = pty.fork()
        if not self.pid:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack(
                    'HHHH', 30, width, 0, 0))
                os.execve(sys.executable, arguments, env)
            finally:
                os._exit(127)

    def wait_for(self, text):
        """Wait until the command has shown the text."""
        self._read(lambda: text in self.output)

    def type(self, text):
        os.write(self._file, text.encode())

    def end(self):
        """Return the exit status, once the command has ended."""
        self._read(lambda: False)
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def text(self):
        """The output without colours."""
        return _ESCAPES.sub('', self.output).replace('\r\n', '\n')

    def _read(self, is_done):
        end = monotonic() + LIMIT
        while not is_done():
            if not select.select([self._file], [], [], end - monotonic())[0]:
                raise AssertionError(f'still waiting: {self.output!r}')
            try:
                data = os.read(self._file, 1 << 16)
            except OSError:  # it has ended
                return
            if not data:
                return
            self.output += data.decode('utf-8', 'replace')
