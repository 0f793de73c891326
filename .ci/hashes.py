# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Rewrite the pins: .venv/bin/python .ci/hashes.py

For each file of versions it writes a file of requirements beside it, with the
hashes of all files for CPython 3.11 to 3.15, on Linux and macOS. In its
hash-checking mode pip accepts nothing else. The hashes come from the index
that the user's pip is configured for. Look at the diff before you commit it:
the hashes of a version that was already pinned must not change.
"""
import pathlib
import re
import sys

from packaging.utils import InvalidWheelFilename
from packaging.utils import canonicalize_name
from packaging.utils import parse_wheel_filename
from pip._internal.commands.download import DownloadCommand
from pip._internal.index.collector import LinkCollector
from pip._internal.index.collector import parse_links


HERE = pathlib.Path(__file__).resolve().parent.parent
FILES = ('versions.cfg', 'benchmark.cfg', 'zope.cfg', 'operation.cfg',
         '.ci/tools.cfg', 'examples/deployment/buildout.cfg')

PYTHONS = re.compile(r'py3|cp31[1-5]')
OLDER = re.compile(r'cp3\d+')  # with the stable ABI
PLATFORMS = re.compile(
    r'any|(linux|manylinux|musllinux).*_(x86_64|aarch64)|macosx_.*')


def is_wanted(name):
    """Return whether a file may be needed, here or by a user."""
    if not name.endswith('.whl'):
        return name.endswith('.tar.gz')
    tags = parse_wheel_filename(name)[3]
    return any(
        PLATFORMS.fullmatch(tag.platform) and (
            PYTHONS.fullmatch(tag.interpreter)
            or tag.abi == 'abi3' and OLDER.fullmatch(tag.interpreter))
        for tag in tags)


def version_of(name):
    if name.endswith('.whl'):
        return str(parse_wheel_filename(name)[1])
    return name.removesuffix('.tar.gz').rpartition('-')[2]


def links(name, collector):
    """Yield the links to a package's files, in all indexes."""
    sources = collector.collect_sources(name, candidates_from_page=None)
    for source in sources.index_urls:
        page = source and collector.fetch_response(source.link)
        if page:
            yield from parse_links(page)


def hashes(name, version, collector):
    """Return {file name: hash} of the version."""
    found = {}
    for link in links(name, collector):
        try:
            wanted = (is_wanted(link.filename)
                      and version_of(link.filename) == version)
        except InvalidWheelFilename:
            continue
        if wanted:
            known = found.setdefault(link.filename, link.hash)
            if not link.hash or known != link.hash:
                sys.exit(f'{link.filename}: {known} and {link.hash}')
    if not found:
        sys.exit(f'{name} {version}: no index has it')
    return found


def main():
    sys.path.insert(0, str(HERE))
    from bootstrap import pinned
    command = DownloadCommand('download', '')
    options, _ = command.parse_args([])
    collector = LinkCollector.create(
        command._build_session(options), options=options)
    for file in FILES:
        lines = [f'# Of {file}, written by .ci/hashes.py.']
        for requirement in pinned([file]):
            name, version = re.match(
                r'([^=]+)==([^;]+)', requirement).groups()
            found = hashes(canonicalize_name(name), version, collector)
            lines.append(' \\\n'.join([requirement, *sorted(
                {f'    --hash=sha256:{value}' for value in found.values()})]))
        (HERE / file).with_suffix('.txt').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    main()
