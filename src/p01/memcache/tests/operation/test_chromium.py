# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The page in a browser: wide and narrow, light and dark, without others."""

import unittest

from p01.memcache.tests.operation import layers
from p01.memcache.tests.operation.chromium import Chromium
from p01.memcache.tests.operation.chromium import is_there
from p01.memcache.tests.operation.scenes import LONG
from p01.memcache.tests.support.waits import until


WIDE, NARROW = (1280, 900), (390, 844)

# Of all texts: those that stand out from what is behind them, by the rule of
# the WCAG for small text, are not returned.
FAINT = '''(() => {
  const light = (c) => {
    const [r, g, b] = c.map((v) => {
      v /= 255;
      return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const parse = (t) => t.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const c = parse(getComputedStyle(node).backgroundColor);
      if (c.length === 3 || c[3] === 1) { return c.slice(0, 3); } }
    return [255, 255, 255]; };
  const faint = [];
  const texts = document.createTreeWalker(document.body, 4);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || node.closest('script')) continue;
    const a = light(parse(getComputedStyle(node).color).slice(0, 3));
    const b = light(behind(node));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faint.push(texts.currentNode.data + ' ' + ratio); }
  return faint; })()'''


@unittest.skipUnless(is_there(), 'there is no chromium: apt-get install it')
class ChromiumCase(unittest.TestCase):

    layer, script, path = layers.OUTAGE, True, ''

    def setUp(self):
        self.site = self.layer.site
        self.chromium = self.enterContext(Chromium(script=self.script))
        self.chromium.window(*WIDE)
        self.chromium.open(self.site.url + self.path)

    def assertAlone(self):
        """Nothing came from elsewhere, and nothing was refused."""
        mine = self.site.url.partition('@@')[0]
        self.assertNotEqual(self.chromium.requested, [])
        self.assertEqual(
            [url for url in self.chromium.requested
             if not url.startswith((mine, 'data:'))], [])
        self.assertEqual(self.chromium.complaints, [])


class LookTest(ChromiumCase):

    def test_windows(self):
        for size in WIDE, NARROW:
            for scheme in 'light', 'dark':
                with self.subTest(size=size, scheme=scheme):
                    self.chromium.window(*size, scheme)
                    self.chromium.open(self.site.url + '?slabs=1')
                    ask = self.chromium.ask
                    # No line is longer than the window is wide.
                    self.assertLessEqual(
                        ask('document.documentElement.scrollWidth'), size[0])
                    self.assertEqual(ask(FAINT), [])
                    back = ask('getComputedStyle(document.body)'
                               '.backgroundColor')
                    self.assertEqual(
                        back, 'rgb(244, 245, 247)' if scheme == 'light'
                        else 'rgb(20, 23, 27)')
                    # The verdict is what is seen first.
                    self.assertLess(ask(
                        'document.querySelector(".verdict")'
                        '.getBoundingClientRect().bottom'), size[1] / 2)
        self.assertAlone()

    def test_what_it_says(self):
        text = self.chromium.text('.verdict')
        self.assertIn('cache2:11211 has been down for 12', text)
        self.assertIn('no reply in time', text)
        self.assertIn('2 of 3', text)
        self.assertIn('down', self.chromium.text('.down .state'))
        self.assertEqual(self.chromium.ask(
            'document.querySelectorAll("#client-0 polyline").length'), 1)
        label = self.chromium.ask(
            'document.querySelector("svg.curve").getAttribute("aria-label")')
        self.assertRegex(label, r'now \d\d.%, lowest \d\d.%')

    def test_tables_have_headers(self):
        self.assertEqual(self.chromium.ask(
            '[...document.querySelectorAll("th")]'
            '.filter((th) => !th.scope).length'), 0)
        self.assertEqual(self.chromium.ask(
            '[...document.querySelectorAll("[aria-labelledby]")].filter('
            '(n) => !document.getElementById(n.getAttribute('
            '"aria-labelledby"))).map((n) => n.outerHTML.slice(0, 80))'), [])


# Of each address: its lines.
LINES = '''[...document.querySelectorAll(".address")].map((node) => {
  const range = document.createRange(), lines = [];
  const texts = document.createTreeWalker(node, 4);
  let bottom = 0;
  while (texts.nextNode()) {
    const text = texts.currentNode;
    for (let at = 0; at < text.length; at++) {
      range.setStart(text, at), range.setEnd(text, at + 1);
      const box = range.getBoundingClientRect();
      if (box.top >= bottom) lines.push(""), bottom = box.bottom;
      lines[lines.length - 1] += text.data[at]; } }
  return lines; })'''


class LongTest(ChromiumCase):

    layer = layers.LONG

    def test_addresses(self):
        for width in 1200, 900, 400, 320:
            with self.subTest(width=width):
                self.chromium.window(width, 900)
                self.chromium.open(self.site.url)
                self.chromium.ask('document.querySelectorAll("details")'
                                  '.forEach((node) => node.open = true)')
                lines = self.chromium.ask(LINES)
                self.assertEqual(
                    [''.join(one) for one in lines], [*LONG, *LONG])
                # Broken for want of room alone.
                for one in lines[:3] if width == 1200 else lines[1:2]:
                    self.assertEqual(len(one), 1, one)
                for line in (line for one in lines for line in one[:-1]):
                    self.assertIn(line[-1], '.:/-')
                self.assertLessEqual(self.chromium.ask(
                    'document.documentElement.scrollWidth'), width)


class ReloadTest(ChromiumCase):

    def loaded(self):
        return self.chromium.ask(
            'document.getElementById("loaded").textContent')

    def test_reload(self):
        self.chromium.click('#client-0-slowest summary')
        # Where a link was there may be another one now.
        self.chromium.ask('document.querySelector("a.empty").focus(), '
                          'document.querySelector("main")'
                          '.prepend(document.createElement("button")), '
                          'window.scrollTo(0, 300)')
        top = self.chromium.ask('window.scrollY')
        before = self.loaded()
        until(lambda: self.loaded() != before, 20)
        self.assertEqual(self.chromium.ask('window.scrollY'), top)
        self.assertEqual(
            self.chromium.ask('document.activeElement.className'), 'empty')
        self.assertTrue(self.chromium.ask(
            'document.getElementById("client-0-slowest").open'))
        self.assertAlone()

    def test_pause(self):
        self.chromium.click('#pause')
        self.assertEqual(self.chromium.text('#pause'), 'Go on')
        asked = len(self.chromium.requested)
        self.chromium.ask('new Promise((done) => setTimeout(done, 6000))')
        self.assertEqual(len(self.chromium.requested), asked)

    def answer(self, answer):
        self.chromium.ask(f'fetched = window.fetch, window.fetch = '
                          f'() => Promise.{answer}')

    def test_a_site_that_is_gone(self):
        mark = self.chromium.ask('document.title')
        self.answer('reject(new TypeError("gone"))')
        until(lambda: 'has not answered' in self.loaded(), 20)
        # Not since it was first noticed.
        self.assertRegex(self.loaded(), 'for ([5-9]|1.) s$')
        self.assertEqual(self.chromium.ask('document.title'), '? memcached')
        self.chromium.ask('window.fetch = fetched, 0')
        until(lambda: self.chromium.ask('document.title') == mark, 20)
        self.assertNotIn('has', self.loaded())

    def test_a_session_that_is_over(self):
        self.answer('resolve(new Response("<form>Login</form>"))')
        until(lambda: 'has shown another page' in self.loaded(), 20)
        self.answer('resolve(new Response("", {status: 401}))')
        until(lambda: 'has said 401' in self.loaded(), 20)
        # It says so in the narrowest window, too.
        self.chromium.window(320, 600)
        self.assertLessEqual(self.chromium.ask(
            'document.documentElement.scrollWidth'), 320)

    def test_a_tab_in_the_background(self):
        self.chromium.ask(
            'Object.defineProperty(document, "hidden", {value: true}), 0')
        asked = len(self.chromium.requested)
        self.chromium.ask('new Promise((done) => setTimeout(done, 6000))')
        self.assertEqual(len(self.chromium.requested), asked)
        # Its title is new each minute.
        self.chromium.ask('now = performance.now.bind(performance), '
                          'performance.now = () => now() + 60000, 0')
        before = self.loaded()
        until(lambda: self.loaded() != before, 20)


class EmptyTest(ChromiumCase):

    def test_empty(self):
        self.chromium.click('a.empty')
        until(lambda: 'Empty the namespace' in self.chromium.text('main'))
        self.chromium.click('button.danger')
        until(lambda: 'Done' in self.chromium.text('main'))
        self.assertAlone()


class WithoutScriptTest(EmptyTest):
    """All of it works without scripts, too."""

    script = False

    def test_reload(self):
        # What a browser does without scripts, if the page says so.
        self.assertIn('<noscript><meta http-equiv="refresh" content="5">',
                      self.site.page().text)


class HostileTest(ChromiumCase):

    layer, path = layers.HOSTILE, '?slabs=1'

    def test_nothing_runs(self):
        self.assertEqual(
            self.chromium.ask('document.scripts.length'), 1)
        self.assertIn('<script>alert(1)</script>',
                      self.chromium.text('.verdict'))
        self.chromium.window(*NARROW)
        self.assertLessEqual(self.chromium.ask(
            'document.documentElement.scrollWidth'), NARROW[0])
        self.assertAlone()
