# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The documents as HTML: bin/docs [arguments for sphinx-build]

The pages are the .txt files of the package, which are its tests, too, beside
those of this folder. They are copied to one folder, so that the address of a
page does not show where its file is. A warning is an error: among others a
link that leads nowhere, and a page that the index does not list. All pages are
made every time, as each shows the index, and titles of others.
"""
import pathlib
import shutil
import sys


ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'src' / 'p01' / 'memcache'
PARTS = ROOT / 'parts' / 'html'


def sources():
    """Return {path of a page or picture: the file that it is copied from}."""
    found = {
        'CHANGES.txt': ROOT / 'CHANGES.txt',
        'examples/deployment/README.txt':
            ROOT / 'examples' / 'deployment' / 'README.txt'}
    for folder in PACKAGE, ROOT / 'docs':
        for pattern in '*.txt', '*.png', '*.svg':
            for path in folder.rglob(pattern):
                found[path.relative_to(folder).as_posix()] = path
    return found


def copy(found, folder):
    """Make the folder consist of these files; keep those that are the same."""
    for path in folder.rglob('*'):
        if path.is_file() and path.relative_to(folder).as_posix() not in found:
            path.unlink()
    for name, source in found.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (not target.exists()
                or target.read_bytes() != source.read_bytes()):
            shutil.copyfile(source, target)


def main():
    from sphinx.cmd.build import main as sphinx
    copy(sources(), PARTS / 'source')
    status = sphinx([
        '-c', str(ROOT / 'docs'), '-d', str(PARTS / 'doctrees'),
        '-E', '-a', '-q', '-n', '-W', '--keep-going', *sys.argv[1:],
        str(PARTS / 'source'), str(PARTS / 'pages')])
    if not status:
        print(PARTS / 'pages' / 'index.html')
    return status


if __name__ == '__main__':
    sys.exit(main())
