# Copyright (c) 2026 p01.memcache contributors
# ZPL 2.1, see LICENSE.txt
"""A name server of the test's own, on a port of the loopback interface."""

import select
import socket
import struct
import threading
from unittest import mock

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset


HOST = '127.0.0.1'


def listen():
    """Return a socket for UDP and one for TCP, with the same free port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((HOST, 0))
        try:
            return udp, socket.create_server(udp.getsockname())
        except OSError:
            udp.close()


class NameServer:
    """Answers with its ``records``: a dict of names, each with texts.

    A context manager. A text is a type and its data, such as ``SRV 0 1 11211
    cache.example.``. All those of a name are the answer to each question for
    it, whatever its type, and those of the target of a CNAME follow.

    With ``truncated`` the whole answer is sent by TCP only; an ``rcode`` is
    sent instead of an answer; and ``raw`` bytes, behind the number of the
    question, instead of all that. While ``silent`` it does not answer.
    ``requests`` holds the protocol and the name of each question.
    """

    def __init__(self, records=()):
        self.records = dict(records)
        self.truncated = self.silent = False
        self.rcode = self.raw = None
        self.requests = []

    def __enter__(self):
        self._udp, self._tcp = listen()
        self.port = self._udp.getsockname()[1]
        self._ending, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._end.close()
        self._thread.join(10)
        for sock in self._udp, self._tcp, self._ending:
            sock.close()

    def resolver(self):
        """Return a resolver that asks this server only."""
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [HOST]
        resolver.port = self.port
        return resolver

    def used(self):
        """Return a context in which the system is configured for it."""
        resolver = self.resolver()
        return mock.patch('dns.resolver.Resolver', return_value=resolver)

    def _serve(self):
        while True:
            ready, _, _ = select.select(
                [self._udp, self._tcp, self._ending], [], [])
            if self._ending in ready:
                return
            if self._udp in ready:
                question, client = self._udp.recvfrom(65535)
                if answer := self._answer(question, 'udp'):
                    self._udp.sendto(answer, client)
            if self._tcp in ready:
                self._converse(self._tcp.accept()[0])

    def _converse(self, connection):
        with connection, connection.makefile('rb') as file:
            connection.settimeout(10)
            [size] = struct.unpack('!H', file.read(2))
            if answer := self._answer(file.read(size), 'tcp'):
                connection.sendall(struct.pack('!H', len(answer)) + answer)

    def _answer(self, question, protocol):
        query = dns.message.from_wire(question)
        name = query.question[0].name.to_text().lower()
        self.requests.append((protocol, name))
        if self.silent:
            return None
        if self.raw is not None:
            return question[:2] + self.raw
        answer = dns.message.make_response(query)
        if self.rcode is not None or name not in self.records:
            answer.set_rcode(self.rcode or dns.rcode.NXDOMAIN)
        elif self.truncated and protocol == 'udp':
            answer.flags |= dns.flags.TC
        else:
            self._add(answer, name)
        return answer.to_wire()

    def _add(self, answer, name):
        for record in self.records.get(name, ()):
            kind, data = record.split(' ', 1)
            answer.answer.append(
                dns.rrset.from_text(name, 1, 'IN', kind, data))
            if kind == 'CNAME':
                self._add(answer, data)
