# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Build this checkout: python3 bootstrap.py [arguments for buildout]

Makes a private virtual environment in .venv, installs the tool chain there in
the versions that versions.cfg pins, and runs buildout with it. The Python that
runs this script is not changed. With "-c FILE" buildout reads that file
instead of buildout.cfg, and what it and the files it extends pin is fetched.

Only pip uses the network, as the user has configured it. Buildout knows
nothing of pip's indexes, proxies and certificates, so pip fetches a wheel of
everything pinned, and buildout works from these wheels. Pip accepts only files
with one of the hashes in versions.txt, and in FILE's, which .ci/hashes.py
writes. A package without a wheel is built with only the tool chain.

This file must parse on Python 2.7 too, to say that it is too old.
"""
import os
import signal
import subprocess
import sys


HERE = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(HERE, '.venv')
PYTHON = os.path.join(VENV, 'bin', 'python')
# Buildout looks for wheels in the folder "dist" of its download cache.
CACHE = os.path.join(VENV, 'cache')
WHEELS = os.path.join(CACHE, 'dist')
REQUIREMENTS = os.path.join(VENV, 'requirements.txt')
STAMP = os.path.join(VENV, 'bootstrap.stamp')

TOOLS = ('packaging', 'pip', 'platformdirs', 'setuptools', 'wheel',
         'zc.buildout')

# The root logger only warns, per package, that a folder of wheels is no index.
BUILDOUT = '''\
import logging
import zc.buildout.buildout
logging.getLogger().addFilter(lambda record: False)
zc.buildout.buildout.main()
'''


def fail(message):
    """Exit with status 1 and one sentence on stderr."""
    sys.exit('bootstrap.py: ' + message)


def say(message):
    """Print a line, before anything that the next command prints."""
    sys.stdout.write(message + '\n')
    sys.stdout.flush()


def environment(**settings):
    """Return our environment, without what leads Python or pip astray."""
    env = dict(os.environ, PIP_USER='0', PIP_NO_INPUT='1',
               PIP_DISABLE_PIP_VERSION_CHECK='1')
    for name in ('PYTHONHOME', 'PYTHONPATH', 'PIP_PREFIX', 'PIP_TARGET'):
        env.pop(name, None)
    # Without a network, pip should fail soon.
    env.setdefault('PIP_RETRIES', '1')
    env.update(settings)
    return env


def ignore_interrupts():
    """Leave Ctrl-C to us: a child would print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(command, problem):
    """Run a command silently; if it fails, report its last error."""
    done = subprocess.run(
        command, cwd=HERE, env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors='replace',
        text=True)
    if done.returncode:
        lines = done.stdout.split('\n')
        errors = [line.strip() for line in lines if 'error' in line.lower()]
        fail('%s (%s).' % (problem, (errors or ['no reason given'])[-1]))


def pinned(names):
    """Return the requirements that files pin: "name==version; marker"."""
    import configparser
    config = configparser.ConfigParser(interpolation=None)
    for name in names:
        with open(os.path.join(HERE, name)) as stream:
            config.read_file(stream)
    requirements = []
    if not config.has_section('versions'):
        return requirements
    for name, version in config.items('versions'):
        requirement = '%s==%s' % (name, version)
        if config.has_option('markers', name):
            requirement += '; ' + config.get('markers', name)
        requirements.append(requirement)
    return requirements


def chain(name):
    """Return the files that a file extends, each before what extends it."""
    import configparser
    config = configparser.ConfigParser(interpolation=None)
    path = os.path.normpath(os.path.join(HERE, name))
    with open(path) as stream:
        config.read_file(stream)
    names = []
    for base in config.get('buildout', 'extends', fallback='').split():
        names += chain(os.path.join(os.path.dirname(path), base))
    return names + [os.path.relpath(path, HERE)]


def hashed(names):
    """Return the requirements with their hashes, as pip checks them."""
    requirements = []
    for name in names:
        path = os.path.splitext(os.path.join(HERE, name))[0] + '.txt'
        if not os.path.exists(path) and not pinned([name]):
            continue
        with open(path) as stream:
            lines = [line for line in stream if not line.startswith('#')]
        # A requirement continues as long as its lines are indented.
        found = ''.join(lines).replace('\\\n    ', '').splitlines()
        if [line.split(' --hash=')[0] for line in found] != pinned([name]):
            fail('%s does not have the hashes of %s; write them: %s'
                 % (path, name, '.venv/bin/python .ci/hashes.py'))
        requirements += found
    return requirements


def is_ready(stamp):
    """Tell whether the environment is complete for this stamp, and works.
    """
    try:
        with open(STAMP) as stream:
            if not set(stamp.split('\n')) <= set(stream.read().split('\n')):
                return False
        return not subprocess.call(
            [PYTHON, '-c', 'import zc.buildout.buildout, pip'],
            env=environment(), stderr=subprocess.DEVNULL)
    except EnvironmentError:
        return False


def fetch(requirements, option):
    """Fetch the wheels of requirements to where buildout looks for them."""
    with open(REQUIREMENTS, 'w') as stream:
        stream.write('\n'.join(requirements))
    run([PYTHON, '-m', 'pip', 'wheel', '--no-deps', '--require-hashes', option,
         '--wheel-dir', WHEELS, '-r', REQUIREMENTS],
        'the packages could not be fetched, is there a network?')


def make_environment(requirements, stamp):
    """Recreate .venv. The stamp is last: without it all is made again."""
    say('Making the virtual environment %s' % VENV)
    run([sys.executable, '-m', 'venv', '--clear', VENV],
        'a virtual environment could not be made')
    say('Fetching the packages in the versions that are pinned')
    pip = [PYTHON, '-m', 'pip']
    tools = [requirement for requirement in requirements
             if requirement.split('==')[0] in TOOLS]
    fetch(tools, '--only-binary=:all:')
    run(pip + ['install', '--no-deps', '--no-index', '--find-links', WHEELS,
               '--require-hashes', '-r', REQUIREMENTS],
        'the tool chain could not be installed')
    # Packages that are only needed for building are not pinned.
    fetch(requirements, '--no-build-isolation')
    with open(STAMP, 'w') as stream:
        stream.write(stamp)


def allow_spaces():
    """Let sh start the scripts in bin: "#!" does not allow spaces."""
    import pathlib
    old = ('#!%s\n' % PYTHON).encode()
    # The second line is an exec to sh, and begins a string for Python.
    new = ('#!/bin/sh\n\'\'\'exec\' "%s" "$0" "$@"\n\' \'\'\'\n'
           % PYTHON).encode()
    for script in pathlib.Path(HERE, 'bin').glob('*'):
        text = script.read_bytes()
        if text.startswith(old):
            script.write_bytes(new + text[len(old):])


def main(arguments):
    if sys.version_info < (3, 11):
        fail('Python 3.11 or newer is needed, this is %s.'
             % sys.version.split()[0])
    import pathlib
    try:
        import venv  # noqa: F401
        from ensurepip import version  # noqa: F401
    except ImportError:
        fail('this Python cannot make virtual environments; on Debian:'
             ' apt-get install python3-venv (or python%s.%s-venv).'
             % sys.version_info[:2])
    if not os.access(HERE, os.W_OK):
        fail('the folder %s is not writable.' % HERE)

    name = 'buildout.cfg'
    if '-c' in arguments:
        [name] = arguments[arguments.index('-c') + 1:][:1] or [name]
    requirements = hashed(list(dict.fromkeys(chain(name))))
    # A change of any of these makes a new environment.
    stamp = '\n'.join([HERE, sys.base_prefix, sys.version] + requirements)
    if not is_ready(stamp):
        make_environment(requirements, stamp)

    status = subprocess.call(
        [PYTHON, '-Wignore:Module zc was already', '-c', BUILDOUT, '-U',
         'buildout:download-cache=' + CACHE,
         'buildout:install-from-cache=true'] + arguments,
        cwd=HERE, preexec_fn=ignore_interrupts,
        env=environment(PIP_NO_INDEX='1',
                        PIP_FIND_LINKS=pathlib.Path(WHEELS).as_uri()))
    if status:
        fail('buildout failed (exit status %s), see above.' % status)
    if ' ' in PYTHON:
        allow_spaces()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        fail('interrupted, run it again to go on.')
    except EnvironmentError as error:
        fail('%s.' % error)
