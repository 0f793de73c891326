# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The configuration of Sphinx; bin/docs runs it."""

project = 'p01.memcache'
copyright = '2026 p01.memcache contributors'  # noqa: A001

extensions = ['docs.contract', 'docs.links']
source_suffix = {'.txt': 'restructuredtext'}

html_theme = 'furo'
html_title = 'p01.memcache'
html_show_sourcelink = False
html_copy_source = False
html_domain_indices = False

toc_object_entries_show_parents = 'hide'
autodoc_member_order = 'bysource'
# What these are is in the pages; they have no address of their own.
nitpick_ignore_regex = [('py:class', r'Exception|ValueError|str|bool|None')]
