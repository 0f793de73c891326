# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Debian's chromium, without a window, steered by its debugging port."""

import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import urllib.request

from websockets.sync.client import connect

from p01.memcache.tests.support.waits import until


def is_there():
    return shutil.which('chromium') is not None


class Chromium(contextlib.ExitStack):
    """One window. `requested` are the addresses of all that it has loaded."""

    def __init__(self, login='boss:x', script=True):
        super().__init__()
        self._login, self._script = login, script
        self._number = 0
        self.requested, self.complaints = [], []

    def __enter__(self):
        folder = pathlib.Path(self.enter_context(
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        process = subprocess.Popen(
            ['chromium', '--headless=new', '--no-sandbox', '--disable-gpu',
             '--no-first-run', '--disable-background-networking',
             '--disable-component-update', '--hide-scrollbars',
             '--remote-debugging-port=0', f'--user-data-dir={folder}',
             'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.callback(process.wait, 30)
        self.callback(process.kill)
        written = folder / 'DevToolsActivePort'
        until(lambda: written.exists() and written.read_text().count('\n'))
        port = written.read_text().split()[0]
        with urllib.request.urlopen(
                f'http://127.0.0.1:{port}/json', timeout=30) as answer:
            [page] = [target for target in json.load(answer)
                      if target['type'] == 'page']
        self._socket = self.enter_context(
            connect(page['webSocketDebuggerUrl'], max_size=None))
        for part in ('Page', 'Network', 'Log', 'Runtime'):
            self.call(f'{part}.enable')
        self.call('Network.setExtraHTTPHeaders', headers={
            'Authorization': 'Basic ' + base64.b64encode(
                self._login.encode()).decode()})
        self.call('Emulation.setScriptExecutionDisabled',
                  value=not self._script)
        return self

    def call(self, method, **params):
        """Call a method of the browser, and return its result."""
        self._number += 1
        self._socket.send(json.dumps(
            {'id': self._number, 'method': method, 'params': params}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            if message.get('id') == self._number:
                if 'error' in message:
                    raise AssertionError(f'{method}: {message["error"]}')
                return message['result']
            self._notice(message)

    def _notice(self, message):
        params = message.get('params', {})
        if message['method'] == 'Network.requestWillBeSent':
            self.requested.append(params['request']['url'])
        elif message['method'] == 'Log.entryAdded':
            self.complaints.append(params['entry']['text'])
        elif message['method'] == 'Runtime.exceptionThrown':
            self.complaints.append(params['exceptionDetails']['text'])

    def window(self, width, height, scheme='light'):
        self.call('Emulation.setDeviceMetricsOverride', width=width,
                  height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': scheme}])

    def open(self, address):
        self.call('Page.navigate', url=address)
        until(lambda: self.ask('location.href !== "about:blank" && '
                               'document.readyState === "complete"'))

    def ask(self, expression):
        """Return the value of a JavaScript expression."""
        result = self.call('Runtime.evaluate', expression=expression,
                           returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in result:
            raise AssertionError(f'{expression}: {result}')
        return result['result'].get('value')

    def text(self, selector):
        return self.ask(
            f'document.querySelector({json.dumps(selector)})?.innerText || ""')

    def click(self, selector):
        """Click where it is, as a mouse does."""
        x, y = self.ask(
            '(() => { const node = document.querySelector('
            f'{json.dumps(selector)}); node.scrollIntoView(); '
            'const box = node.getBoundingClientRect(); '
            'return [box.x + box.width / 2, box.y + box.height / 2]; })()')
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y,
                      button='left', clickCount=1)

    def picture(self):
        """Return what the window shows, as PNG."""
        return base64.b64decode(self.call(
            'Page.captureScreenshot', format='png')['data'])
