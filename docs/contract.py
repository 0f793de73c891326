# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The API from the interfaces, by the directive ``interface``.

It shows an interface with its methods, attributes and fields. Of a field it
tells the default and the rules, too. A name in single backquotes becomes a
link, if it is not that of an argument.
"""
import inspect
import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.domains.python import PyClasslike
from sphinx.util.docutils import SphinxDirective
from zope.interface.interfaces import IMethod
from zope.schema.interfaces import IChoice
from zope.schema.interfaces import IField

from p01.memcache import interfaces


MODULE = interfaces.__name__
NAME = re.compile(r'(?<!`)`([\w.]+)`(?![`_])')
# "See cluster.txt" in the description of a field.
FILE = re.compile(r'(?<![`\w/])([a-z-]+\.txt)\b')


class Interface(PyClasslike):
    """A class that calls itself an interface."""

    def get_signature_prefix(self, sig):
        return [nodes.Text('interface'), nodes.Text(' ')]


class InterfaceDirective(SphinxDirective):
    """``.. interface:: IName``, of ``p01.memcache.interfaces``."""

    required_arguments = 1

    def run(self):
        interface = getattr(interfaces, self.arguments[0])
        lines = [f'.. py:contract:: {interface.__name__}',
                 f'   :module: {MODULE}', '']
        lines += indented(describe(interface))
        for name, member in interface.namesAndDescriptions():
            lines += indented(
                method(name, member) if IMethod.providedBy(member)
                else attribute(name, member))
        return self.parse_text_to_nodes(
            StringList(lines, self.arguments[0]), allow_section_headings=False)


def indented(lines):
    return ['   ' + line if line else '' for line in lines]


def describe(interface):
    bases = [f':py:class:`~{MODULE}.{base.__name__}`'
             for base in interface.__bases__ if base.__name__ != 'Interface']
    return (
        (['Extends ' + ' and '.join(bases) + '.', ''] if bases else [])
        + prose(interface.__doc__, arguments(interface)))


def arguments(interface):
    """Return the arguments of its methods that are no names of a client."""
    return {argument for _, member in interface.namesAndDescriptions()
            if IMethod.providedBy(member)
            for argument in member.getSignatureInfo()['positional']
            if argument not in interfaces.IUltraMemcacheClient}


def method(name, member):
    own = member.getSignatureInfo()['positional']
    return [
        f'.. py:method:: {name}{member.getSignatureString()}', '',
        *indented(prose(
            member.__doc__, arguments(member.interface).union(own)))]


def attribute(name, member):
    text = member.__doc__
    lines = [f'.. py:attribute:: {name}']
    if IField.providedBy(member):
        text = member.description or member.title + '.'
        lines += ['', *indented([rules(member)])]
    return [*lines, '', *indented(prose(text))]


def rules(field):
    """Return what a field accepts, and its default, in a line."""
    parts = [type(field).__name__]
    if IChoice.providedBy(field):
        parts = ['one of ' + ', '.join(
            f'"{term.value}"' for term in field.vocabulary)]
    if getattr(field, 'min', None) not in (None, 0):
        parts.append(f'at least {field.min:,}')
    if getattr(field, 'max', None) is not None:
        parts.append(f'at most {field.max:,}')
    if getattr(field, 'min_length', None):
        parts.append('not empty')
    if not field.required:
        parts.append('or None')
    return f"*{', '.join(parts)}; by default* ``{field.default!r}``"


def prose(text, plain=()):
    """Return the lines of a text, with links from names."""
    def mark(match):
        name = match[1]
        return f'*{name}*' if name in plain else f':py:obj:`{name}`'

    text = FILE.sub(r'``\1``', inspect.cleandoc(text))
    return [*NAME.sub(mark, text).splitlines(), '']


def mark_docstring(app, what, name, obj, options, lines):
    """Do the same for what autodoc shows."""
    own = (
        inspect.signature(obj).parameters if inspect.isfunction(obj) else ())
    lines[:] = prose('\n'.join(lines), own)


def find(app, env, node, content):
    """Resolve a name: a client's, inherited or not, or one that is unique."""
    if node.get('reftype') != 'obj':
        return None
    domain = env.get_domain('py')
    owner, _, name = node['reftarget'].rpartition('.')
    interface = getattr(
        interfaces, owner, None if owner else interfaces.IUltraMemcacheClient)
    if interface is not None and name in interface:
        found = [f'{MODULE}.{interface[name].interface.__name__}.{name}']
    else:
        found = [known for known in domain.objects
                 if known.endswith('.' + node['reftarget'])]
    if len(found) != 1:
        return None
    return domain.resolve_xref(
        env, node['refdoc'], app.builder, 'obj', found[0], node, content)


def setup(app):
    app.setup_extension('sphinx.ext.autodoc')
    app.add_directive('interface', InterfaceDirective)
    app.add_directive_to_domain('py', 'contract', Interface)
    app.connect('autodoc-process-docstring', mark_docstring)
    app.connect('missing-reference', find)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
