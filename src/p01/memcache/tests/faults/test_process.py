# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The clock jumps; the interpreter exits."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from p01.memcache.tests.faults.case import FaultCase
from p01.memcache.tests.faults.case import jump
from p01.memcache.tests.support.layers import Replies
from p01.memcache.tests.support.layers import run_in
from p01.memcache.tests.support.proxy import HOLD
from p01.memcache.tests.support.waits import PATIENCE


load_tests = run_in(Replies)


class ClockJumpTest(FaultCase):
    """Fault 14: the wall clock jumps an hour either way."""

    def test_idle_connections_stay(self):
        self.fill()
        client = self.client(pooltime=60)
        self.assertRight(client)
        for hours in 1, -1:
            with jump(hours):
                self.assertRight(client)
                self.fill()
                self.assertRight(client)
        self.assertEqual(client.getPools()[0][1]['opened'], 1)

    def test_time_out_in_between(self):
        self.fill()
        client = self.client()
        for hours in 1, -1:
            self.proxy.once(HOLD)
            with ThreadPoolExecutor(1) as executor:
                result = executor.submit(self.timed, client.query, 0)
                self.assertTrue(
                    self.proxy.wait(lambda: self.proxy.stalled))
                with jump(hours):
                    self.assertIsNone(result.result(PATIENCE))
            self.proxy.release()
            self.assertRight(client)
        self.assertGreaterEqual(min(self.spent), self.timeout)
        self.assertLess(max(self.spent), PATIENCE / 2)

    def test_a_mark_stays_and_ends(self):
        self.fill()
        for hours in 1, -1:
            self.proxy.refuse()
            client = self.client(retries=1, blacktime=0.1)
            self.assertIsNone(client.query(0))
            self.proxy.accept()
            opened = self.proxy.opened
            with jump(hours):
                self.assertIsNone(client.query(0))
                self.assertEqual(self.proxy.opened, opened)
                time.sleep(0.11)
                self.assertRight(client)

    def test_lifetime(self):
        for hours in 1, -1:
            with jump(hours):
                self.assertTrue(self.direct.set('key', 1, lifetime=60))
                self.assertEqual(self.direct.query('key'), 1)


class ExitWhileStalledTest(FaultCase):
    """Fault 36: a stalled operation while the interpreter exits."""

    level = 2

    script = '''
import signal
import sys
import threading
from p01.memcache.uclient import UltraMemcacheClient

# A shell's background job inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
client = UltraMemcacheClient([sys.argv[1]], timeout=60)
{operation}
'''
    in_threads = '''
for i in range(4):
    threading.Thread(target=client.query, args=('key',), daemon=True).start()
# Until the test says that all of them wait.
sys.stdin.readline()
'''
    statistics_in_a_thread = '''
threading.Thread(target=client.getStatistics, daemon=True).start()
sys.stdin.readline()
'''

    def exit_while(self, operation, stalled, end):
        path = os.pathsep.join(filter(None, sys.path))
        self.proxy.fault = HOLD
        process = subprocess.Popen(
            [sys.executable, '-c', self.script.format(operation=operation),
             self.proxy.address],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONPATH': path})
        try:
            self.assertTrue(self.proxy.wait(
                lambda: self.proxy.stalled == stalled, 4 * PATIENCE))
            end(process)
            _, errors = self.timed(process.communicate, timeout=3)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stderr.close()
        self.proxy.release()
        self.proxy.fault = None
        return process.returncode, errors.decode()

    def test_threads_wait(self):
        def scenario():
            code, errors = self.exit_while(
                self.in_threads, 4, lambda process: None)
            self.assertEqual((code, errors), (0, ''))

        self.assertInTime(scenario, 1)

    def test_a_thread_waits_for_statistics(self):
        def scenario():
            code, errors = self.exit_while(
                self.statistics_in_a_thread, 1, lambda process: None)
            self.assertEqual((code, errors), (0, ''))

        self.assertInTime(scenario, 1)

    def test_the_main_thread_waits_and_is_interrupted(self):
        for operation in "client.query('key')", 'client.getStatistics()':
            def scenario(operation=operation):
                code, errors = self.exit_while(
                    operation, 1,
                    lambda process: process.send_signal(signal.SIGINT))
                self.assertIn('KeyboardInterrupt', errors)
                self.assertNotEqual(code, 0)

            with self.subTest(operation):
                self.assertInTime(scenario, 1)
