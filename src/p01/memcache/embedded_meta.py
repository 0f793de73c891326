# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The meta commands of the embedded server: what they do to its storage.

A request comes as its key, and as its flags: a mapping of letters, in their
order, to arguments which have been read. What is returned is the reply.
"""

import base64
import copy
import math


#: What became of a change.
HD, NS, EX, NF = b'HD', b'NS', b'EX', b'NF'

#: The arguments of M.
MODES = {
    'ms': {b'S': 'set', b'E': 'add', b'R': 'replace', b'A': 'append',
           b'P': 'prepend'},
    'ma': {b'I': 'incr', b'+': 'incr', b'D': 'decr', b'-': 'decr'},
}

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


def status(code, letters, key, flags, item=None, binary=None):
    """A line with what is returned for those of the flags, without its end.

    They take effect one by one: `T60 t` returns the new lifetime, and `t T60`
    the old one.
    """
    line = code
    for letter, argument in flags.items():
        if letter not in letters:
            continue
        if letter == 'O':
            line += b' O' + argument
        elif letter == 'k':
            encoded = 'b' in flags if binary is None else binary
            line += b' k' + (base64.b64encode(key) + b' b' if encoded
                             else key)
        elif letter in NUMBERS:
            line += b' %b%d' % (letter.encode(),
                                NUMBERS[letter](item) if item else 0)
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
        item = storage.put(key, b'', 0, math.inf)
        item.token = WON
        letters += 'N'
    storage.count_fetch('touch' if item and 'T' in flags else 'get', item)
    if item is None:
        return (b'' if 'q' in flags
                else status(b'EN', 'kO', key, flags) + b'\r\n')
    line = status(b'VA %d' % len(item.value) if 'v' in flags else HD,
                  letters, key, flags, item, item.binary)
    if item.stale and not item.token:
        item.token = WON
    # The order is Z, X, W.
    line += b''.join(sorted((item.token, b' X' if item.stale else b''),
                            reverse=True))
    if item.token:
        item.token = SENT
    if 'u' not in flags:
        item.use()
    return line + b'\r\n' + (item.value + b'\r\n' if 'v' in flags else b'')


def store(storage, key, flags, value):
    mode = MODES['ms'][flags.get('M', b'S')]
    if 'C' in flags and mode in ('set', 'replace'):
        mode = 'cas'
    code = storage.store(
        mode, key, value, flags.get('F', 0), flags.get('T', math.inf),
        flags.get('C', 0), 'I' in flags)
    item = storage.items[key] if code == HD else None
    if item and mode not in ('append', 'prepend'):
        item.binary = 'b' in flags
    return (b'' if code == HD and 'q' in flags
            else status(code, 'ckO', key, flags, item) + b'\r\n')


def delete(storage, key, flags):
    item = storage.find(key)
    code = HD
    if item is None:
        code = NF
    elif flags.get('C', item.cas) != item.cas:
        code = EX
    elif 'I' in flags:
        item.expires = flags.get('T', item.expires)
        item.stale = True
        item.token = b''
        storage.renew(item)
    else:
        del storage.items[key]
    if code != HD or 'I' not in flags:
        storage.count('delete', code == HD)
    return (b'' if code == HD and 'q' in flags
            else status(code, 'kO', key, flags) + b'\r\n')


def calculate(storage, key, flags):
    command = MODES['ma'][flags.get('M', b'I')]
    item = storage.find(key)
    letters = 'ckOtT'
    quiet = 'q' in flags
    if item is None and 'N' not in flags:
        storage.count(command, None)
        return status(NF, 'kO', key, flags) + b'\r\n'
    if item is None:
        item = storage.put(key, b'%d' % flags.get('J', 0), 0, math.inf)
        letters += 'N'
        quiet = False
    elif item.value and flags.get('C', 0) not in (0, item.cas):
        return status(EX, 'kO', key, flags) + b'\r\n'
    else:
        old, item = item, storage.calculate(
            command, key, item, flags.get('D', 1))
        if item is not old:
            # memcached lets T change what the longer number has replaced.
            item = copy.copy(item)
    number = item.value.rstrip()
    line = status(b'VA %d' % len(number) if 'v' in flags else HD,
                  letters, key, flags, item) + b'\r\n'
    if 'v' in flags:
        line += number + b'\r\n'
    return b'' if quiet else line


#: The commands which are all in their line.
COMMANDS = {'mg': get, 'md': delete, 'ma': calculate}
