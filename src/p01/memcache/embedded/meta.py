# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The meta commands of the embedded server, see `basic` for the others."""

import base64
import copy
import functools

from p01.memcache.embedded import clock
from p01.memcache.embedded.flags import MODES
from p01.memcache.embedded.flags import check_letters
from p01.memcache.embedded.flags import check_opaque
from p01.memcache.embedded.flags import read
from p01.memcache.embedded.replies import EX
from p01.memcache.embedded.replies import HD
from p01.memcache.embedded.replies import NF
from p01.memcache.embedded.replies import Refused
from p01.memcache.embedded.storage import Item
from p01.memcache.embedded.syntax import data_length


#: The token of an item: the client that gets WON shall renew the item, and
#: all others get SENT.
WON, SENT = b' W', b' Z'

#: The numbers that flags ask for.
NUMBERS = {
    'c': lambda item: item.cas,
    'f': lambda item: item.flags,
    'h': lambda item: item.fetched,
    'l': lambda item: item.seconds_idle(),
    's': lambda item: len(item.value),
    't': lambda item: item.seconds_left(),
}


def one_line(answer):
    """Make a command of what answers a request that is a single line."""
    @functools.wraps(answer)
    def run(session, name, key, *words):
        check_letters(words)
        key, flags = read(name, key, words, 2 + len(words))
        yield answer(session.storage, key, _with_moments(flags))
    return run


def noop(session, name, *words):
    yield b'MN\r\n'


@one_line
def get(storage, key, flags):
    item = storage.find(key)
    letters = 'cfhklORstT'
    if item is None and 'N' in flags:
        item = storage.put(key, Item(b'', cas=flags.get('E')))
        item.token = WON
        letters += 'N'
    if item is None:
        line = _line(b'EN', 'kO', key, flags)
        storage.count_fetch('get', None)
        return b'' if 'q' in flags else line
    # A client that names the value's unique number has the value.
    wanted = 'v' in flags and flags.get('C') != item.cas
    line = _status(b'VA %d' % len(item.value) if wanted else HD,
                   letters, key, flags, item, item.binary)
    storage.count_fetch('touch' if 'T' in flags else 'get', item)
    if item.stale and not item.token:
        item.token = WON
    # The order is Z, X, W.
    line += b''.join(sorted((item.token, b' X' if item.stale else b''),
                            reverse=True))
    if item.token:
        item.token = SENT
    if 'u' not in flags:
        item.use()
    return line + b'\r\n' + (item.value + b'\r\n' if wanted else b'')


def store(session, name, key, length, *words):
    storage = session.storage
    check_letters(words)
    length = data_length(length)
    try:
        key, flags = read(name, key, words, 3 + len(words))
        storage.admit(key, flags.get('F', 0), length, replaces=True)
        session.announce(flags.get('E'))
        check_opaque(flags)
    except Refused:
        yield from session.skip_value(length)
        raise
    value = yield from session.read_value(length)
    yield _store(storage, key, _with_moments(flags), value,
                 session.take_unique())


def _store(storage, key, flags, value, unique):
    mode = MODES['ms'][flags.get('M', b'S')]
    if 'C' in flags and mode in ('set', 'replace'):
        mode = 'cas'
    # What is added to an old value forgets how the key was written.
    remembers = (mode not in ('append', 'prepend')
                 or storage.find(key) is None)
    item = Item(value, flags.get('F', 0), flags.get('T', clock.NEVER), unique)
    code = storage.store(mode, key, item, flags.get('C', 0), 'I' in flags,
                         flags.get('N'))
    if code == HD:
        item.binary = remembers and 'b' in flags
        if 'q' in flags:
            return b''
        return _line(code, 'ckOs', key, flags, item)
    return _line(code, 'ckOs', key, flags, size=len(value))


@one_line
def delete(storage, key, flags):
    check_opaque(flags)
    item = storage.find(key)
    code = HD
    if item is None:
        code = NF
    elif flags.get('C', item.cas) != item.cas:
        code = EX
    else:
        if 'x' in flags:
            # Only the value goes.
            item = storage.put(key, Item(
                b'', flags.get('F', 0), flags.get('T', clock.NEVER),
                flags.get('E', item.cas)))
        if 'I' in flags:
            item.invalidate()
            item.expires = flags.get('T', item.expires)
            item.cas = flags['E'] if 'E' in flags else storage.next_unique()
        elif 'x' not in flags:
            del storage.items[key]
    if code != HD or 'I' not in flags:
        storage.count('delete', code == HD)
    if code == HD and 'q' in flags:
        return b''
    return _line(code, 'kO', key, flags)


@one_line
def calculate(storage, key, flags):
    command = MODES['ma'][flags.get('M', b'I')]
    item = storage.find(key)
    letters = 'ckOtT'
    if item is None and 'N' not in flags:
        storage.count(command, None)
        return _line(NF, 'kO', key, flags)
    if item is None:
        item = storage.put(
            key, Item(b'%d' % flags.get('J', 0), cas=flags.get('E')))
        letters += 'N'
    elif item.value and flags.get('C', 0) not in (0, item.cas):
        return _line(EX, 'kO', key, flags)
    else:
        old, item = item, storage.calculate(
            command, key, item, flags.get('D', 1))
        if item is not old:
            # memcached has T and E change the item that is being replaced.
            item = copy.copy(item)
        item.cas = flags.get('E', item.cas)
    number = item.value.rstrip()
    line = _line(b'VA %d' % len(number) if 'v' in flags else HD,
                 letters, key, flags, item)
    if 'v' in flags:
        line += number + b'\r\n'
    return b'' if 'q' in flags else line


def _with_moments(flags):
    """Return the flags, with lifetimes that are the storage's."""
    moments = {letter: clock.deadline(flags[letter])
               for letter in 'NTR' if letter in flags}
    if 'R' in moments:
        moments['R'] = clock.seconds_left(moments['R'])
    return flags | moments


def _line(*args, **kw):
    return _status(*args, **kw) + b'\r\n'


def _status(code, letters, key, flags, item=None, binary=None, size=0):
    """Return a line without its end: the code, and what the flags ask for.

    Only those of the `letters` are looked at. They take effect one by one:
    `T60 t` returns the new lifetime, and `t T60` the old one.
    """
    line = code
    for letter, argument in flags.items():
        if letter not in letters:
            continue
        if letter == 'O':
            check_opaque(flags)
            line += b' O' + argument
        elif letter == 'k':
            encoded = 'b' in flags if binary is None else binary
            line += b' k' + (base64.b64encode(key) + b' b' if encoded
                             else key)
        elif letter in NUMBERS:
            number = (NUMBERS[letter](item) if item
                      else size if letter == 's' else 0)
            line += b' %b%d' % (letter.encode(), number)
        elif letter in 'NT':
            item.expires = argument
        elif (letter == 'R' and not item.token
              and 0 <= item.seconds_left() < argument):
            item.token = WON
    return line
