# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Links between the pages: a name such as ``cluster.txt`` becomes one.

The files stay plain text. The link shows the title of the page.
"""
import ast
import posixpath

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform


def language(text):
    """Return the language of an example, as Pygments calls it."""
    if text.startswith('<'):
        return 'xml'
    try:
        ast.parse(text)
    except SyntaxError:
        return 'none'
    return 'python'


class Links(SphinxTransform):
    """Replace the names of other pages, and colour ZCML and Python."""

    default_priority = 400

    def apply(self):
        for literal in list(self.document.findall(nodes.literal)):
            page = self.page(literal.astext())
            if page and page != self.env.docname:
                literal.replace_self(addnodes.pending_xref(
                    '', nodes.inline(), refdoc=self.env.docname,
                    refdomain='std', reftype='doc', reftarget='/' + page,
                    refexplicit=False, refwarn=True))
        for block in self.document.findall(nodes.literal_block):
            block['language'] = language(block.astext())
            # An example may leave something out.
            block['force'] = True

    def page(self, name):
        """Return the page with that file, as seen from this page, or None."""
        if name.startswith('examples/'):
            name += '/README.txt'
        if not name.endswith('.txt'):
            return None
        here = posixpath.dirname(self.env.docname)
        for path in posixpath.join(here, name), name:
            page = posixpath.normpath(path).removesuffix('.txt')
            if page in self.env.found_docs:
                return page
        return None


def setup(app):
    app.add_transform(Links)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
