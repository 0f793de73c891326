# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""Certificates for TLS, made anew for every use, which takes 20 ms."""

import os
import pwd
import tempfile

import trustme


def share(path):
    """Let memcached read the file, as the user it runs as, but no others.
    """
    if os.geteuid() == 0:
        os.chown(path, -1, pwd.getpwnam('nobody').pw_gid)
    os.chmod(path, 0o640)


class Certificates:
    """Files in a temporary folder: ``with Certificates() as files: ...``

    ``ca``, ``other_ca``
        certificates of two authorities; the other one has signed nothing
    ``server_chain``, ``server_key``
        for 127.0.0.1 and localhost
    ``other_host_chain``, ``other_host_key``
        for cache.example.com
    ``client``, ``client_key``
        for a client, if a server asks for a certificate

    Every user can read them, as root runs memcached as ``nobody``.
    """

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        os.chmod(self._folder.name, 0o755)
        ca = trustme.CA()
        self.ca = self._file('ca', ca.cert_pem)
        self.other_ca = self._file('other_ca', trustme.CA().cert_pem)
        self.server_chain, self.server_key = self._files(
            'server', ca.issue_cert('127.0.0.1', 'localhost'))
        self.other_host_chain, self.other_host_key = self._files(
            'other_host', ca.issue_cert('cache.example.com'))
        self.client, self.client_key = self._files(
            'client', ca.issue_cert('client@example.com'))
        return self

    def __exit__(self, *exc_info):
        self._folder.cleanup()

    def _files(self, name, certificate):
        # The authority signs its certificates directly, so the chain is short.
        [blob] = certificate.cert_chain_pems
        return (self._file(f'{name}_chain', blob),
                self._file(f'{name}_key', certificate.private_key_pem))

    def _file(self, name, blob):
        path = os.path.join(self._folder.name, f'{name}.pem')
        blob.write_to_path(path)
        # Regardless of the umask.
        os.chmod(path, 0o644)
        return path
