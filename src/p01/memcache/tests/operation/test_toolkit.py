# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The page in the Zope Toolkit: who sees it, what it says, what it empties."""

import re
import time
import unittest

from p01.memcache.tests.operation import layers
from p01.memcache.tests.operation.scenes import HOSTILE


EMPTY = '/@@memcache-empty'


class ToolkitCase(unittest.TestCase):

    layer = layers.WELL

    @property
    def site(self):
        return self.layer.site


class AccessTest(ToolkitCase):

    def test_nobody(self):
        for path in '/@@memcache', EMPTY + '?client=':
            self.assertEqual(self.site.page(path, login=None).status, 401)
            self.assertEqual(self.site.page(path, login='none').status, 401)

    def test_a_guest_only_looks(self):
        page = self.site.page(login='guest')
        self.assertEqual(page.status, 200)
        self.assertNotIn('Empty', re.sub(
            r'<span class="unseen">Empty</span>', '', page.text))
        question = self.site.page(EMPTY + '?client=')
        form = self.site.fields(question)
        for answer in (
                self.site.page(EMPTY + '?client=', login='guest'),
                self.site.page(EMPTY, login='guest', form=form)):
            self.assertEqual(answer.status, 401)

    def test_headers(self):
        headers = self.site.page().headers
        self.assertEqual(headers['Cache-Control'], 'no-store')
        self.assertIn("default-src 'none'", headers['Content-Security-Policy'])
        self.assertNotIn('unsafe', headers['Content-Security-Policy'])


class ContentTest(ToolkitCase):

    def test_well(self):
        text = self.site.page().text
        self.assertIn('All 3 servers are up; ', text)
        self.assertIn('(unnamed)', text)
        self.assertIn('sessions', text)
        self.assertIn('2,468', text)
        self.assertNotIn('Slabs of', text)

    def test_slabs(self):
        text = self.site.page('/@@memcache?slabs=1').text
        self.assertIn('Slabs of', text)
        self.assertIn('846,300', text)


class EmptyTest(ToolkitCase):

    def question(self, *path):
        return self.site.fields(self.site.page(EMPTY + '?client=' + ''.join(
            f'&region:list={name}' for name in path)))

    def test_empty(self):
        for path in (), ('prices',):
            answer = self.site.page(EMPTY, form=self.question(*path))
            self.assertEqual(answer.status, 200)
            self.assertIn('Done', answer.text)

    def test_a_question_changes_nothing(self):
        page = self.site.page(EMPTY + '?client=&token=1')
        self.assertEqual(page.status, 200)
        self.assertNotIn('Done', page.text)

    def assertRefused(self, form, status=403, **headers):
        answer = self.site.page(EMPTY, form=form, **headers)
        self.assertEqual(answer.status, status)
        self.assertNotIn('Done', answer.text)
        return answer

    def test_forged(self):
        self.assertRefused([('client', '')])
        for token in '', '0', '-', '9' * 40, f'{time.time():.0f}-' + 'a' * 64:
            self.assertRefused([('client', ''), ('token', token)])

    def test_a_token_for_something_else(self):
        own = dict(self.question())
        other = self.question('prices')
        self.assertRefused(
            [(name, own['token'] if name == 'token' else value)
             for name, value in other])

    def test_from_another_site(self):
        for site in 'cross-site', 'same-site', 'none':
            self.assertRefused(
                self.question(), **{'Sec-Fetch-Site': site})

    def test_asked_again(self):
        # By a browser that has the question of another process.
        answer = self.assertRefused([('client', ''), ('token', '1-2')])
        again = self.site.page(EMPTY, form=self.site.fields(answer))
        self.assertIn('Done', again.text)

    def test_there_is_none(self):
        self.assertRefused(
            [('client', 'another')], 404)
        self.assertRefused(
            [('client', ''), ('region:list', 'another')], 404)
        # One without generations.
        answer = self.assertRefused([('client', 'sessions')], 404)
        self.assertNotIn('<form', answer.text)


class HostileTest(ToolkitCase):

    layer = layers.HOSTILE

    def test_escaped(self):
        for path in '/@@memcache?slabs=1', EMPTY + '?client=' + (
                '%3Cscript%3Ealert(1)%3C/script%3E'):
            page = self.site.page(path)
            self.assertIn(page.status, (200, 404))
            self.assertNotIn('<script>alert', page.text)
            self.assertNotIn(HOSTILE, page.text)
        self.assertIn('&lt;script&gt;alert(1)', self.site.page().text)


class StalledTest(ToolkitCase):
    """A server that answers after 8 seconds."""

    layer = layers.STALLED

    def test_page(self):
        start = time.monotonic()
        for _ in range(2):
            text = self.site.page().text
        self.assertLess(time.monotonic() - start, 6)
        self.assertIn('has not answered this page in time', text)


class NothingTest(ToolkitCase):

    layer = layers.NOTHING

    def test_page(self):
        self.assertIn('No IMemcacheClient utility is registered.',
                      self.site.page().text)
