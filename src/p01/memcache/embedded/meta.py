# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The meta commands of the embedded server: what they do to its storage.

A request comes as its key, and as its flags: a mapping of letters, in their
order, to arguments which have been read. What is returned is the reply.
"""

import base64
import copy
import math

from p01.memcache.embedded.syntax import MODES
from p01.memcache.embedded.syntax import check_opaque


#: What became of a change.
HD, NS, EX, NF = b'HD', b'NS', b'EX', b'NF'

#: An item has one token: whoever gets it shall renew the item, and all others
#: are told that it has been sent.
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


def status(code, letters, key, flags, item=None, binary=None, size=0):
    """A line with what is returned for those of the flags, without its end.

    They take effect one by one: `T60 t` returns the new lifetime, and `t T60`
    the old one.
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


def get(storage, key, flags):
    item = storage.find(key)
    letters = 'cfhklORstT'
    if item is None and 'N' in flags:
        item = storage.put(key, b'', 0, math.inf, flags.get('E'))
        item.token = WON
        letters += 'N'
    if item is None:
        line = status(b'EN', 'kO', key, flags) + b'\r\n'
        storage.count_fetch('get', None)
        return b'' if 'q' in flags else line
    # Who names the value's unique number has the value.
    wanted = 'v' in flags and flags.get('C') != item.cas
    line = status(b'VA %d' % len(item.value) if wanted else HD,
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


def store(storage, key, flags, value, unique):
    mode = MODES['ms'][flags.get('M', b'S')]
    if 'C' in flags and mode in ('set', 'replace'):
        mode = 'cas'
    # What is added to remembers, or forgets, how its key was written.
    remembers = (mode not in ('append', 'prepend')
                 or storage.find(key) is None)
    code = storage.store(
        mode, key, value, flags.get('F', 0), flags.get('T', math.inf),
        unique, flags.get('C', 0), 'I' in flags, flags.get('N'))
    item = storage.items[key] if code == HD else None
    if item and remembers:
        item.binary = 'b' in flags
    return (b'' if code == HD and 'q' in flags
            else status(code, 'ckOs', key, flags, item, size=len(value))
            + b'\r\n')


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
            # The value alone goes.
            item = storage.put(
                key, b'', flags.get('F', 0), flags.get('T', math.inf),
                flags.get('E', item.cas))
        if 'I' in flags:
            item.expires = flags.get('T', item.expires)
            item.stale = True
            item.token = b''
            storage.renew(item, flags.get('E'))
        elif 'x' not in flags:
            del storage.items[key]
    if code != HD or 'I' not in flags:
        storage.count('delete', code == HD)
    return (b'' if code == HD and 'q' in flags
            else status(code, 'kO', key, flags) + b'\r\n')


def calculate(storage, key, flags):
    command = MODES['ma'][flags.get('M', b'I')]
    item = storage.find(key)
    letters = 'ckOtT'
    if item is None and 'N' not in flags:
        storage.count(command, None)
        return status(NF, 'kO', key, flags) + b'\r\n'
    if item is None:
        item = storage.put(key, b'%d' % flags.get('J', 0), 0, math.inf,
                           flags.get('E'))
        letters += 'N'
    elif item.value and flags.get('C', 0) not in (0, item.cas):
        return status(EX, 'kO', key, flags) + b'\r\n'
    else:
        old, item = item, storage.calculate(
            command, key, item, flags.get('D', 1))
        if item is not old:
            # memcached lets T and E change what the longer number replaced.
            item = copy.copy(item)
        item.cas = flags.get('E', item.cas)
    number = item.value.rstrip()
    line = status(b'VA %d' % len(number) if 'v' in flags else HD,
                  letters, key, flags, item) + b'\r\n'
    if 'v' in flags:
        line += number + b'\r\n'
    return b'' if 'q' in flags else line


#: The commands which are all in their line.
COMMANDS = {'mg': get, 'md': delete, 'ma': calculate}
