"""Peers that break the rules, for either role: behaviours of ``servers.Server``, and the same bytes for clients."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator

from tests.certificates import authority
from tests.ssa_impl.tls.peers import MemoryPeer, server_context
from tests.system.records import ALERT, DATA, HANDSHAKE, Records, noting_secrets, records_of
from tests.system.servers import Behaviour, Server

Bytes = Callable[[], Iterable[bytes]]
"""what is sent, piece by piece, until the other side has had enough"""


def record(kind: int, content: bytes, version: bytes = b"\x03\x03") -> bytes:
    """Return a record in the clear."""
    return bytes([kind]) + version + len(content).to_bytes(2, "big") + content


def for_ever(piece: bytes) -> Bytes:
    return lambda: itertools.repeat(piece)


def once(*pieces: bytes) -> Bytes:
    return lambda: pieces


NO_HANDSHAKE: dict[str, Bytes] = {
    "noise": lambda: iter(lambda: os.urandom(1000), b""),
    "zeros": for_ever(bytes(1000)),
    "a web server": for_ever(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "a record of 64 KiB": for_ever(b"\x16\x03\x03\xff\xff" + bytes(65_535)),
    "a record of another kind": for_ever(record(99, b"x")),
    "data before the handshake": for_ever(record(DATA, bytes(100))),
    "empty records": for_ever(record(HANDSHAKE, b"")),
    "warnings": for_ever(record(ALERT, b"\x01\x5a")),
    "a message of 16 MiB": lambda: itertools.chain(
        [record(HANDSHAKE, b"\x02\xff\xff\xff")], itertools.repeat(record(HANDSHAKE, bytes(16_000)))
    ),
    "a message of another kind": for_ever(record(HANDSHAKE, b"\x63\x00\x00\x01x")),
    "a fatal alert": once(record(ALERT, b"\x02\x28")),
    "an alert that is none": once(record(ALERT, b"\x07\x07\x07")),
    "a change of ciphers": for_ever(record(20, b"\x01")),
}
"""what may come in place of a handshake"""


def pour(connection: socket.socket, pieces: Iterable[bytes]) -> str:
    """Send until the other side has gone, or nothing is left; then wait for its end."""
    try:
        for piece in pieces:
            connection.sendall(piece)
        while connection.recv(65_536):
            pass
    except ConnectionError:
        return "it hung up"
    return "it ended"


def mute(connection: socket.socket, _server: Server) -> None:
    """Never answer; end when the other side does."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(65_536):
            pass


def instead_of_a_handshake(pieces: Bytes) -> Behaviour:
    """A server that answers the first words with something else."""

    def behave(connection: socket.socket, server: Server) -> None:
        connection.recv(65_536)
        server.seen.put(pour(connection, pieces()))

    return behave


# -- real TLS, delivered badly


def _talk(connection: socket.socket, peer: MemoryPeer, send: Callable[[bytes], None]) -> bytes:
    """Shake hands and hear one word, sending as told."""
    heard = b""
    while not heard:
        data = connection.recv(65_536)
        if not data:
            raise EOFError
        peer.receive(data)
        send(peer.output())
        heard = peer.read() if peer.ready else b""
    return heard


def byte_by_byte(version: str) -> Behaviour:
    """An honest server whose every byte comes alone; it sends back what it hears."""

    def behave(connection: socket.socket, server: Server) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send(data: bytes) -> None:
            for position in range(len(data)):
                connection.sendall(data[position : position + 1])

        peer = MemoryPeer(server_context(version))
        peer.write(_talk(connection, peer, send))
        peer.close()
        send(peer.output())
        while connection.recv(65_536):
            pass
        server.seen.put("in order")

    return behave


def ending_after(share: float, version: str, *, reset: bool) -> Behaviour:
    """A server whose first flight ends after a part of it: with FIN, still reading; or with a reset."""

    def behave(connection: socket.socket, server: Server) -> None:
        peer = MemoryPeer(server_context(version))
        peer.receive(connection.recv(65_536))
        flight = peer.output()
        connection.sendall(flight[: int(share * len(flight))])
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65_536):
                    pass
        server.seen.put("ended by me")

    return behave


# -- after the handshake


LAST_WORDS = b"still here"

AFTERWARDS: dict[str, tuple[Callable[[Records], Iterator[bytes]], bool]] = {
    "many key updates": (lambda r: (r.key_update(wanted_back=False) for _ in range(5000)), True),
    "many key updates to be answered": (lambda r: (r.key_update(wanted_back=True) for _ in range(2000)), True),
    "many tickets": (lambda r: (r.ticket(number) for number in range(10_000)), True),
    "padding": (lambda r: (r.record(DATA, b"", padding=16_000) for _ in range(30)), True),
    "no data, again and again": (lambda r: (r.record(DATA, b"") for _ in itertools.count()), False),
    "warnings": (lambda r: (r.record(ALERT, b"\x01\x5a") for _ in itertools.count()), False),
    "a fatal alert": (lambda r: iter([r.record(ALERT, b"\x02\x28")]), False),
    "a record of another kind": (lambda r: iter([r.record(99, b"x")]), False),
    "a record of no kind": (lambda r: iter([r.record(0, b"", padding=10)]), False),
    "a handshake anew": (lambda r: iter([r.record(HANDSHAKE, b"\x01\x00\x00\x02xx")]), False),
    "a wish for a certificate": (lambda r: iter([r.record(HANDSHAKE, b"\x0d\x00\x00\x03\x00\x00\x00")]), False),
    "a ticket of 16 MiB": (
        lambda r: itertools.chain(
            [r.record(HANDSHAKE, b"\x04\xff\xff\xff")], (r.record(HANDSHAKE, bytes(16_000)) for _ in itertools.count())
        ),
        False,
    ),
    "a key update that says nothing": (lambda r: iter([r.record(HANDSHAKE, b"\x18\x00\x00\x00")]), False),
    "half a key update, then data": (
        lambda r: iter([r.record(HANDSHAKE, b"\x18\x00"), r.record(DATA, b"x")]),
        False,
    ),
    "a record that was changed": (lambda r: iter([r.record(DATA, b"x")[:-1] + b"\0"]), False),
    "a record in the clear": (lambda r: iter([record(ALERT, b"\x01\x00")]), False),
    "a record that is too long": (lambda r: iter([b"\x17\x03\x03\x41\x01" + bytes(0x4101)]), False),
}
"""records after the handshake, and whether the connection goes on"""


def afterwards(make: Callable[[Records], Iterator[bytes]], *, goes_on: bool) -> Behaviour:
    """A server that shakes hands, hears one word, and then makes its records by hand."""

    def behave(connection: socket.socket, server: Server) -> None:
        context = authority().server_context()
        with noting_secrets(context) as secrets, context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(100)
            raw = socket.socket(fileno=os.dup(secured.fileno()))
            raw.settimeout(60)
            with raw:
                records = records_of(secured, secrets)
                pieces = itertools.chain(make(records), in_order(records) if goes_on else ())
                server.seen.put(pour(raw, pieces))

    return behave


def in_order(records: Records) -> Iterator[bytes]:
    """The last words, and close_notify."""
    yield records.record(DATA, LAST_WORDS)
    yield records.record(ALERT, b"\x01\x00")


def client_with_records(port: int) -> tuple[ssl.SSLSocket, Records]:
    """Connect to a server of ours; return the connection and what makes its records by hand."""
    context = ssl.create_default_context(cadata=authority().anchors_pem.decode())
    context.check_hostname = False
    with noting_secrets(context) as secrets:
        secured = context.wrap_socket(socket.create_connection(("127.0.0.1", port)))
        secured.settimeout(30)
        return secured, records_of(secured, secrets)
