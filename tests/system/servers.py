"""Servers for the system tests, in threads: real TLS by the standard library, and peers that misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.certificates import authority
from tests.system.waiting import PATIENCE_S

BODY = hashlib.shake_128(b"body").digest(1_000_000)
BODY_SHA256 = hashlib.sha256(BODY).hexdigest()

Behaviour = Callable[[socket.socket, "Server"], None]


class Server:
    """A listener whose every connection gets a thread; what the threads met is kept for the test."""

    def __init__(self, behave: Behaviour, family: int = socket.AF_INET, path: Path | None = None) -> None:
        """``path``: a unix socket's, instead of a port on loopback."""
        self._behave = behave
        if path is None:
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            self._listener = socket.create_server((host, 0), family=family)
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(path))
        self._listener.listen(256)
        self.seen: queue.SimpleQueue[str] = queue.SimpleQueue()
        """one word about each connection, when it is over"""
        self.accepted: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        """the client's address of each connection, when it has come"""
        self.released = threading.Event()
        """set when stalled connections may end"""
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            self.accepted.put(address[:2])
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_S)
        with connection:
            try:
                self._behave(connection, self)
            except BaseException as error:
                self._failures.append(error)

    def word(self) -> str:
        """Wait for the word about the next connection that ends."""
        return self.seen.get(timeout=PATIENCE_S)

    def caller(self) -> tuple[str, int]:
        """Wait for the next connection; return the client's address."""
        return self.accepted.get(timeout=PATIENCE_S)

    def stop(self) -> None:
        """End; a thread that failed is the test's failure."""
        self.released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(2 * PATIENCE_S)  # after its connection's own patience
            assert not thread.is_alive()
        if self._failures:
            raise self._failures[0]


@contextlib.contextmanager
def serving(behave: Behaviour, family: int = socket.AF_INET, path: Path | None = None) -> Iterator[Server]:
    """Serve for the length of a test."""
    server = Server(behave, family, path)
    try:
        yield server
    finally:
        server.stop()


def tls(behave: Callable[[ssl.SSLSocket, Server], str], context: ssl.SSLContext | None = None) -> Behaviour:
    """A TLS server; what a connection came to is put into ``seen``."""
    context = context or authority().server_context()

    def behave_tls(connection: socket.socket, server: Server) -> None:
        try:
            secured = context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        except (ssl.SSLError, ConnectionError) as error:
            server.seen.put(f"refused: {getattr(error, 'reason', None) or error}")
            return
        with secured:
            try:
                server.seen.put(behave(secured, server))
            except ssl.SSLEOFError:
                server.seen.put("truncated")
            except ConnectionError as error:
                server.seen.put(type(error).__name__)

    return behave_tls


# -- how a TLS server behaves; each returns a word about how the connection ended


def _end(secured: ssl.SSLSocket) -> str:
    """Send close_notify, wait for the client's, and for its FIN after that."""
    with contextlib.suppress(ssl.SSLZeroReturnError):
        raw = secured.unwrap()
        return "in order" if raw.recv(1) == b"" else "data after close_notify"
    return "in order"


def _read_to_the_end(secured: ssl.SSLSocket) -> bytes:
    """Read until close_notify; ssl.SSLEOFError when there is none."""
    data = bytearray()
    while piece := secured.recv(65_536):
        data += piece
    return bytes(data)


def download(secured: ssl.SSLSocket, _server: Server) -> str:
    """Answer one request with the body."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (piece := secured.recv(4096)):
            return "no request"
        request += piece
    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    return _end(secured)


def echo(secured: ssl.SSLSocket, _server: Server) -> str:
    """Send back whatever comes."""
    while piece := secured.recv(65_536):
        secured.sendall(piece)
    return _end(secured)


def digest(secured: ssl.SSLSocket, _server: Server) -> str:
    """Read to the end, then answer with the SHA-256 and the length."""
    data = _read_to_the_end(secured)
    word = f"{hashlib.sha256(data).hexdigest()} {len(data)}"
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        secured.sendall(word.encode())
        _end(secured)
    return word


def greet(secured: ssl.SSLSocket, _server: Server) -> str:
    """Speak first."""
    secured.sendall(b"220 ready\r\n")
    return f"{len(_read_to_the_end(secured))} bytes"


def hold(secured: ssl.SSLSocket, server: Server) -> str:
    """Say nothing until the test lets go, or the client ends."""
    secured.settimeout(0.05)
    while not server.released.is_set():
        with contextlib.suppress(TimeoutError):
            if not secured.recv(1):
                return "client ended"
    return "released"


def flood(secured: ssl.SSLSocket, server: Server) -> str:
    """Send until the test lets go."""
    while not server.released.is_set():
        secured.sendall(bytes(65_536))
    return _end(secured)


def truncate(secured: ssl.SSLSocket, _server: Server) -> str:
    """Send half of something, and end without close_notify."""
    secured.sendall(b"half")
    socket.socket.shutdown(secured, socket.SHUT_WR)
    with contextlib.suppress(ssl.SSLError):
        while socket.socket.recv(secured, 4096):
            pass
    return "truncated by me"


def reset(secured: ssl.SSLSocket, _server: Server) -> str:
    """Send half of something, then reset the connection."""
    secured.sendall(b"half")
    secured.recv(1)  # the client has read it
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "reset by me"


# -- peers that speak no TLS, or not to the end


def plain(connection: socket.socket, server: Server) -> None:
    """A web server on the wrong port."""
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while connection.recv(4096):
            pass
    server.seen.put("ended")


def close_early(connection: socket.socket, server: Server) -> None:
    """Close as soon as the client has spoken."""
    connection.recv(4096)
    server.seen.put("closed by me")


def stall(connection: socket.socket, server: Server) -> None:
    """Never answer."""
    connection.settimeout(0.05)
    word = "released"
    while not server.released.is_set():
        try:
            if not connection.recv(65_536):
                word = "client ended"
                break
        except TimeoutError:
            continue
        except ConnectionError:
            word = "client reset"
            break
    server.seen.put(word)


def noise(size: int) -> bytes:
    """Return bytes that are hard to compress and easy to check."""
    return os.urandom(size)
