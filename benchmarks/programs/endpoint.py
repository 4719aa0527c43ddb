"""One end of the connections that are measured: ``python endpoint.py '{"side": ..., "transport": ...}'``.

The application and its peer are this same program; they differ in what stands for the connection: ``tls`` (the standard
library's ssl), ``ssa`` (a socket of protocol 205) or ``plain`` (TCP, to or from a proxy on this machine).  It imports
nothing but the standard library, and stands for any program that has nothing of the SSA to import.

``side`` *listen*: every connection is greeted with one byte, which says that it works end to end.  Then it is served
one order after the other, nine bytes each: ``d`` and a length asks for so many bytes down, ``u`` and a length announces
so many up, which are acknowledged with one byte.  An idle connection costs a socket in an epoll set, no thread.

``side`` *connect* does what standard input says, one JSON object a line, and answers each with one: ``open`` and
``close`` connections that stay, ``move`` bytes over those that are open, or make ``handshakes``: connect, greeting,
close.  Work is spread over ``threads``.  When standard input ends, so does the program.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

IPPROTO_TLS = 205
TLS_REMOTE_HOSTNAME, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY, TLS_ERROR, TLS_SESSION_REUSE = 85, 88, 89, 100, 108

GREETING = b"+"
ORDER = struct.Struct("<cQ")
PIECE_BYTES = 65_536
SERVING_THREADS = 16
BACKLOG = 4096


def say(message: dict[str, Any]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; fewer only at the end of file."""
    data = b""
    while len(data) < size and (piece := connection.recv(size - len(data))):
        data += piece
    return data


def send_pieces(connection: socket.socket, size: int) -> None:
    """Send so many bytes."""
    piece = memoryview(bytes(PIECE_BYTES))
    while size:
        connection.sendall(piece[:size])
        size -= min(size, PIECE_BYTES)


def read_pieces(connection: socket.socket, size: int) -> None:
    """Read so many bytes.  ConnectionError when they do not come."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    while size:
        received = connection.recv_into(buffer[:size])
        if not received:
            raise ConnectionError(f"the connection ended {size} bytes too early")
        size -= received


def end(connection: socket.socket) -> None:
    """Close; over TLS with a close_notify, without waiting for the other side's."""
    with connection:
        if isinstance(connection, ssl.SSLSocket):
            connection.setblocking(False)
            with contextlib.suppress(OSError):
                connection.unwrap()


class Connector:
    """The side that connects."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup = setup
        self._open: list[socket.socket] = []
        self._sessions: dict[int, ssl.SSLSession] = {}
        self._resumed = 0
        self._connect: Callable[[int, bool], socket.socket] = getattr(self, f"_{setup['transport']}")
        if setup["transport"] == "tls":
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_3
            self._context.load_verify_locations(setup["ca"])

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order."""
        begun = time.monotonic()
        answer: dict[str, Any] = getattr(self, f"do_{order.pop('do')}")(**order)
        return {"seconds": time.monotonic() - begun, **answer}

    def do_open(self, port: int, count: int, threads: int, resume: bool = False) -> dict[str, Any]:
        """Open connections that stay open."""
        return self._each(count, threads, lambda: self._open.append(self._greeted(port, resume)))

    def do_close(self) -> dict[str, Any]:
        """Close all that are open."""
        for connection in self._open:
            end(connection)
        self._open.clear()
        return {}

    def do_handshakes(self, port: int, count: int, threads: int, resume: bool) -> dict[str, Any]:
        """Connect, wait for the greeting, close."""
        return self._each(count, threads, lambda: end(self._greeted(port, resume)))

    def do_move(self, direction: str, size: int, threads: int) -> dict[str, Any]:
        """Move ``size`` bytes over each open connection, over so many of them at once."""
        pending = iter(list(self._open))
        move = self._down if direction == "down" else self._up
        return self._each(len(self._open), threads, lambda: move(next(pending), size))

    def _each(self, count: int, threads: int, work: Callable[[], object]) -> dict[str, Any]:
        """Do ``work`` so many times, spread over threads; what failed is counted, the first reason told."""
        failures: list[str] = []
        self._resumed = 0
        turns = iter(range(count))

        def take_turns() -> None:
            for _ in turns:
                try:
                    work()
                except OSError as error:
                    failures.append(f"{type(error).__name__}: {error}")

        crew = [threading.Thread(target=take_turns) for _ in range(threads)]
        for thread in crew:
            thread.start()
        for thread in crew:
            thread.join()
        reason = failures[0] if failures else ""
        return {"done": count - len(failures), "failed": len(failures), "reason": reason, "resumed": self._resumed}

    @staticmethod
    def _down(connection: socket.socket, size: int) -> None:
        connection.sendall(ORDER.pack(b"d", size))
        read_pieces(connection, size)

    @staticmethod
    def _up(connection: socket.socket, size: int) -> None:
        connection.sendall(ORDER.pack(b"u", size))
        send_pieces(connection, size)
        if exactly(connection, 1) != GREETING:
            raise ConnectionError("what was sent was not acknowledged")

    def _greeted(self, port: int, resume: bool) -> socket.socket:
        connection = self._connect(port, resume)
        try:
            if exactly(connection, 1) != GREETING:
                raise ConnectionError("the connection ended without a greeting")
        except BaseException:
            connection.close()
            raise
        if isinstance(connection, ssl.SSLSocket):
            self._resumed += bool(connection.session_reused)
            if resume and connection.session is not None:
                self._sessions[port] = connection.session
        return connection

    def _plain(self, port: int, _resume: bool) -> socket.socket:
        connection = socket.create_connection((self._setup["address"], port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _tls(self, port: int, resume: bool) -> socket.socket:
        session = self._sessions.get(port) if resume else None
        raw = self._plain(port, resume)
        return self._context.wrap_socket(raw, server_hostname=self._setup["name"], session=session)

    def _ssa(self, port: int, resume: bool) -> socket.socket:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS)
        try:
            connection.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, self._setup["name"].encode() + b"\0")
            if resume:
                connection.setsockopt(IPPROTO_TLS, TLS_SESSION_REUSE, 1)
            connection.connect((self._setup["address"], port))
        except OSError as error:
            with connection:
                raise OSError(error.errno, f"{error.strerror}: {_tls_error(connection)}") from None
        return connection


def _tls_error(connection: socket.socket) -> str:
    with contextlib.suppress(OSError):
        return connection.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024).rstrip(b"\0").decode()
    return "no reason given"


class Listener:
    """The side that listens: one thread accepts and watches, a few serve."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._secure = setup["transport"] == "tls"
        if self._secure:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_3
            self._context.load_cert_chain(setup["chain"], setup["key"])
            self._context.num_tickets = setup["tickets"]
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS if setup["transport"] == "ssa" else 0
        )
        if setup["transport"] == "ssa":
            self._socket.setsockopt(IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, setup["chain"].encode() + b"\0")
            self._socket.setsockopt(IPPROTO_TLS, TLS_PRIVATE_KEY, setup["key"].encode() + b"\0")
            self._socket.setsockopt(IPPROTO_TLS, TLS_SESSION_REUSE, 1)
        self._socket.bind((setup["address"], 0))
        self._socket.listen(BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._idle: dict[int, socket.socket] = {}
        self._epoll = select.epoll()
        self._epoll.register(self._socket, select.EPOLLIN)
        self._counts = {"served": 0, "resumed": 0, "failed": 0}
        self._reason = ""

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """``counts``: connections served since the last time, and how many of them were resumed or failed."""
        if order["do"] != "counts":
            raise ValueError(order["do"])
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        return {**counts, "reason": self._reason}

    def serve(self) -> None:
        """Until the program ends."""
        with ThreadPoolExecutor(SERVING_THREADS) as pool:
            while True:
                for descriptor, _ in self._epoll.poll():
                    if descriptor == self._socket.fileno():
                        connection, _address = self._socket.accept()
                        pool.submit(self._guarded, self._welcome, connection)
                    else:
                        pool.submit(self._guarded, self._order, self._idle[descriptor])

    def _guarded(self, step: Callable[[socket.socket], None], connection: socket.socket) -> None:
        try:
            step(connection)
        except OSError as error:
            self._counts["failed"] += 1
            self._reason = f"{type(error).__name__}: {error}"
            self._idle.pop(connection.fileno(), None)
            connection.close()

    def _welcome(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a secure socket's protocol is not TCP; the daemon sets it by itself
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            connection = self._context.wrap_socket(connection, server_side=True)
        self._counts["served"] += 1
        self._counts["resumed"] += bool(getattr(connection, "session_reused", False))
        connection.sendall(GREETING)
        self._idle[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN | select.EPOLLONESHOT)

    def _order(self, connection: socket.socket) -> None:
        order = exactly(connection, ORDER.size)
        if not order:
            del self._idle[connection.fileno()]
            end(connection)
            return
        what, size = ORDER.unpack(order)
        if what == b"d":
            send_pieces(connection, size)
        else:
            read_pieces(connection, size)
            connection.sendall(GREETING)
        self._epoll.modify(connection, select.EPOLLIN | select.EPOLLONESHOT)


def orders() -> Iterator[dict[str, Any]]:
    """One JSON object a line, until standard input ends."""
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    """Serve one side."""
    setup = json.loads(sys.argv[1])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    threading.stack_size(256 * 1024)
    side: Connector | Listener
    if setup["side"] == "listen":
        side = Listener(setup)
        threading.Thread(target=side.serve, daemon=True).start()
        say({"pid": os.getpid(), "port": side.port})
    else:
        side = Connector(setup)
        say({"pid": os.getpid()})
    for order in orders():
        say(side.obey(order))
    os._exit(0)  # threads may still wait for peers


if __name__ == "__main__":
    main()
