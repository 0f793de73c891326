# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""The context of TLS connections: trusted servers, our own certificate."""

import ssl
from functools import partial

from p01.memcache.secret import reason
from p01.memcache.secret import show_path
from p01.memcache.trust.renewable import Given
from p01.memcache.trust.renewable import Renewable


def read(caFile: str | None, certFile: str | None,
         keyFile: str | None) -> Given[ssl.SSLContext]:
    """Return the context that is made of these files."""
    files = {name: path for name, path in (
        ('caFile', caFile), ('certFile', certFile), ('keyFile', keyFile))
        if path is not None}
    return Renewable(files, partial(_make, caFile, certFile, keyFile))


def _make(caFile: str | None, certFile: str | None, keyFile: str | None,
          is_first: bool) -> ssl.SSLContext:
    """Return a context that verifies certificates and host names."""
    try:
        context = ssl.create_default_context(cafile=caFile)
    except (OSError, ValueError) as error:
        raise ValueError(
            f'caFile {caFile and show_path(caFile)}: {reason(error)}'
        ) from None
    if certFile is not None:
        try:
            # Fail instead of prompting for a passphrase.
            context.load_cert_chain(certFile, keyFile, password='')
        except (OSError, ValueError) as error:
            raise ValueError(
                f'certFile {show_path(certFile)}, keyFile'
                f' {keyFile and show_path(keyFile)}: {reason(error)}'
            ) from None
    return check(context)


def check(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context; one that does not verify is a ValueError.

    A certificate must have the host among its alternative names: few
    authorities check the common name of its subject.
    """
    if context.verify_mode != ssl.CERT_REQUIRED or not context.check_hostname:
        raise ValueError(
            'ssl_context: must verify certificates and the names of hosts, so'
            ' its verify_mode must be CERT_REQUIRED, and its check_hostname'
            ' True')
    context.hostname_checks_common_name = False
    return context
