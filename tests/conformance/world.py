"""What a program is given: how to make a socket, where its peer is, a line to the test.  It imports nothing of ours.

On plain TCP the same calls make TCP sockets without options, so that one program runs everywhere.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tests.conformance.calls import ERRNO_NAMES, get

TLS = 205
TCP_UPGRADE_TLS = 205
(REMOTE_HOSTNAME, HOSTNAME, ANCHORS, CHAIN, KEY, ALPN, SESSION_TTL, DISABLE_CIPHER, IDENTITY, REQUEST_PEER_AUTH) = (
    range(85, 95)
)
PEER_CHAIN, ID, TRUSTED_CIPHERS, CIPHER, ERROR = 95, 96, 97, 98, 100
REVOCATION, STAPLED, OCSP, CRL, CACHED, CONTEXT, SESSION_REUSE, RESUMED, ENABLE_CIPHER = range(102, 111)
VERSION_MIN, VERSION_MAX, VERSION, STAPLING, GROUP = 111, 112, 113, 122, 123

NAME = "server.ssa.test"
PATIENCE_MS = 20_000
MOMENT_MS = 60
"""how long a program looks whether something happens that must not; more would find more, and cost more"""


class Line(Protocol):
    """A program's line to its test."""

    def tell(self, value: object = None) -> None: ...

    def wait(self) -> Any: ...


class World:
    """The surroundings of one program; see ``runner`` for where they come from."""

    def __init__(self, line: Line, given: dict[str, Any]) -> None:
        self.tell, self.wait = line.tell, line.wait
        self.version: int | None = given["version"]
        self.tls = self.version is not None
        self.protocol = TLS if self.tls else socket.IPPROTO_TCP
        self.role: str = given["role"]
        self.peer: tuple[Any, ...] = tuple(given["peer"])
        self.peer6: tuple[Any, ...] = tuple(given["peer6"])
        self.nowhere: tuple[Any, ...] = tuple(given["nowhere"])
        """an address where nobody listens"""
        self._files: str = given["files"]
        self.arguments: dict[str, Any] = given["arguments"]

    def file(self, name: str) -> str:
        """Return the path of one of the test's files (see ``credentials``)."""
        return f"{self._files}/{name}"

    def content(self, name: str) -> bytes:
        """Return what is in one of the test's files."""
        return Path(self.file(name)).read_bytes()

    def bare(self, family: int = socket.AF_INET, flags: int = 0) -> socket.socket:
        """Make a socket and set nothing."""
        return socket.socket(family, socket.SOCK_STREAM | flags, self.protocol)

    def client(self, family: int = socket.AF_INET, name: str | None = NAME) -> socket.socket:
        """Make a client's socket, with anchors and the name of the peer."""
        s = self.bare(family)
        if self.tls:
            s.setsockopt(TLS, ANCHORS, path(self.file("ca.pem")))
            if name is not None:
                s.setsockopt(TLS, REMOTE_HOSTNAME, text(name))
        return s

    def with_credentials(self, family: int = socket.AF_INET, files: str = "server") -> socket.socket:
        """Make a server's socket with a certificate, not yet bound."""
        s = self.bare(family)
        if self.tls:
            credentials(s, self, files)
        return s

    def listener(self, family: int = socket.AF_INET, backlog: int = 128) -> socket.socket:
        """Make a server's socket that listens at a free port of the loopback interface."""
        s = self.with_credentials(family)
        s.bind(loopback(family))
        s.listen(backlog)
        return s

    def connected(self) -> socket.socket:
        """Make a connection, by connect or accept, as the role says."""
        if self.role == "initiator":
            s = self.client()
            s.connect(self.peer)
            return s
        with self.listener() as listener:
            self.tell(listener.getsockname()[1])
            return listener.accept()[0]


# -- tools of programs


def text(value: str) -> bytes:
    """Return a string as C passes it."""
    return value.encode() + b"\0"


path = text


def loopback(family: int = socket.AF_INET) -> tuple[Any, ...]:
    """Return a free port of the loopback interface."""
    return ("127.0.0.1", 0) if family == socket.AF_INET else ("::1", 0)


def credentials(s: socket.socket, world: World, files: str) -> None:
    """Set certificate chain and key by their paths."""
    s.setsockopt(TLS, CHAIN, path(world.file(f"{files}.chain.pem")))
    s.setsockopt(TLS, KEY, path(world.file(f"{files}.key.pem")))


def outcome(call: Callable[..., object], *arguments: object) -> str:
    """Return "ok", or the name of the errno with which a call fails."""
    try:
        call(*arguments)
    except TimeoutError as error:
        return "timed out" if error.errno is None else "ETIMEDOUT"
    except OSError as error:
        if error.errno is None:
            raise
        return ERRNO_NAMES[error.errno]
    return "ok"


def errno_name(code: int) -> str:
    """Return the name of an errno, "" for 0."""
    return ERRNO_NAMES[code] if code else ""


def so_error(s: socket.socket) -> str:
    """Return the name of what SO_ERROR says, "" for 0."""
    return errno_name(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def string(s: socket.socket, option: int) -> str:
    """Return a string option."""
    value = get(s, TLS, option)
    assert value.endswith(b"\0")
    return value[:-1].decode()


def receive(s: socket.socket, size: int) -> bytes:
    """Receive exactly ``size`` bytes, fewer at the end."""
    data = bytearray()
    while len(data) < size and (piece := s.recv(size - len(data))):
        data += piece
    return bytes(data)


def hear_end(s: socket.socket) -> tuple[bytes, str]:
    """Read until the end; return what came, and "end" or the name of an errno."""
    data = bytearray()
    try:
        while piece := s.recv(65_536):
            data += piece
    except OSError as error:
        return bytes(data), ERRNO_NAMES[error.errno or 0]
    return bytes(data), "end"


def talk(s: socket.socket, word: str = "hello") -> str:
    """Send a word to a peer that echoes; return what comes back."""
    s.sendall(word.encode())
    return receive(s, len(word)).decode()


def digest(data: bytes) -> str:
    """Return a short digest and the length."""
    return f"{hashlib.sha256(data).hexdigest()[:16]} of {len(data)}"


def pattern(size: int) -> bytes:
    """Return bytes that are the same everywhere, and hard to compress."""
    return hashlib.shake_128(b"pattern").digest(size)


_EVENTS = {name: getattr(select, f"POLL{name}") for name in ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP")}
_ALL = select.POLLIN | select.POLLPRI | select.POLLOUT | select.POLLRDHUP


def polled(s: socket.socket, wanted: int = _ALL, wait_ms: int = 0) -> list[str]:
    """Return the events of a socket, by name."""
    poll = select.poll()
    poll.register(s, wanted)
    found = poll.poll(wait_ms)
    return [name for name, bit in _EVENTS.items() if found and found[0][1] & bit]


def readable(s: socket.socket, wait_ms: int = PATIENCE_MS) -> bool:
    """Say whether a socket becomes readable in time."""
    return "IN" in polled(s, select.POLLIN, wait_ms)


def writable(s: socket.socket, wait_ms: int = PATIENCE_MS) -> bool:
    """Say whether a socket becomes writable in time, or fails."""
    return bool(polled(s, select.POLLOUT, wait_ms))


class Child:
    """A forked process that does something, and has one word to say about it."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._pipe, write = os.pipe()
        if (pid := os.fork()) == 0:
            try:
                word = str(act())
            except BaseException as error:
                word = repr(error)
            os.write(write, word.encode())
            os._exit(0)
        os.close(write)
        self._pid = pid

    def word(self) -> str:
        """Wait for its end; return what it did, or what went wrong."""
        with os.fdopen(self._pipe) as pipe:
            word = pipe.read()
        os.waitpid(self._pid, 0)
        return word


def in_child(act: Callable[[], object]) -> str:
    """Do something in a forked child; return its word."""
    return Child(act).word()


def run_python(source: str, *arguments: object, keep: tuple[int, ...] = ()) -> str:
    """Run a Python program to its end by fork and exec; return what it prints."""
    import subprocess

    command = [sys.executable, "-I", "-S", "-c", source, *map(str, arguments)]
    ran = subprocess.run(command, pass_fds=keep, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or ran.stderr


class Ticking:
    """A signal every millisecond, whose handler counts; ``restart`` is SA_RESTART."""

    def __init__(self, *, restart: bool) -> None:
        self.ticks = 0
        self._restart = restart

    def __enter__(self) -> Ticking:
        signal.signal(signal.SIGALRM, self._tick)
        signal.siginterrupt(signal.SIGALRM, not self._restart)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return self

    def _tick(self, _number: int, _frame: object) -> None:
        self.ticks += 1

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fill(s: socket.socket, limit: int) -> int:
    """Write without blocking until the socket takes nothing more, or ``limit`` bytes; return how many it took."""
    s.setblocking(False)
    sent, refusals = 0, 0
    while sent < limit and refusals < 3:
        try:
            sent += s.send(_BLOCK)
            refusals = 0
        except BlockingIOError:
            refusals = 0 if writable(s, 150) else refusals + 1
    s.setblocking(True)
    return sent


_BLOCK = bytes(65_536)
