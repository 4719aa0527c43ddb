"""Where a peer plays: a listener, connections to the program's own, and what the two say to each other meanwhile.

The peer is real TLS by the standard library (or plain TCP, for programs on plain TCP), or a script over bytes.  Its
sentences are the same in both cases, so that what it has seen can be compared.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.conformance.behaviour import TLS_1_2, TLS_1_3, Behaviour, Column
from tests.conformance.credentials import Files
from tests.conformance.world import NAME, PATIENCE_MS

if TYPE_CHECKING:
    from tests.system.daemons import Daemon

PATIENCE_S = PATIENCE_MS / 1000
_VERSIONS = {TLS_1_2: ssl.TLSVersion.TLSv1_2, TLS_1_3: ssl.TLSVersion.TLSv1_3}


class Aborted(Exception):
    """The program has failed: there is nobody to play with."""


class Connection:
    """The peer's end of one connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.end = "open"
        """how the program's stream ended: in order, truncated, reset"""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.raw.close()

    @property
    def secured(self) -> ssl.SSLSocket:
        """The connection, known to be TLS."""
        assert isinstance(self.raw, ssl.SSLSocket)
        return self.raw

    def send(self, data: bytes) -> None:
        self.raw.sendall(data)

    def receive_some(self) -> bytes:
        """Receive what is there; b"" at the end, and then ``end`` says how it ended."""
        try:
            if piece := self.raw.recv(65_536):
                return piece
            self.end = "in order"
        except ssl.SSLZeroReturnError:
            self.end = "in order"
        except ssl.SSLEOFError:
            self.end = "truncated"
        except ConnectionResetError:
            self.end = "reset"
        return b""

    def receive(self, size: int) -> bytes:
        """Receive exactly ``size`` bytes, fewer at the end."""
        data = bytearray()
        while len(data) < size and (piece := self.raw.recv(size - len(data))):
            data += piece
        return bytes(data)

    def receive_all(self) -> bytes:
        """Receive until the end."""
        data = bytearray()
        while piece := self.receive_some():
            data += piece
        return bytes(data)

    def ends_within(self, wait_s: float) -> bool:
        """Say whether the program's stream ends in the next moments; session tickets and the like are no end."""
        self.raw.settimeout(wait_s)
        try:
            return not self.receive_some()
        except TimeoutError:
            return False
        finally:
            self.raw.settimeout(PATIENCE_S)

    def echo(self) -> None:
        """Send back whatever comes, until the end; then end as well."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while piece := self.receive_some():
                self.send(piece)
            self.finish_sending()

    def finish_sending(self) -> None:
        """Send close_notify, then FIN; the other direction stays open."""
        if isinstance(self.raw, ssl.SSLSocket):
            self.raw.settimeout(0)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                self.raw.unwrap()
            self.raw.settimeout(PATIENCE_S)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.raw, socket.SHUT_WR)

    def truncate(self) -> None:
        """Send FIN without close_notify."""
        socket.socket.shutdown(self.raw, socket.SHUT_WR)

    def reset(self) -> None:
        """Send RST."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()


class Stage:
    """The peer's side of one run of a behaviour."""

    def __init__(self, wanted: Behaviour, column: Column, files: Files) -> None:
        self.files = files
        self.version = column.version
        self.tls = column.version is not None
        self._role = wanted.role
        self._listener = self._listen(socket.AF_INET)
        self._listener6 = self._listen(socket.AF_INET6)
        self._nowhere = socket.socket()  # bound, and never listening: nobody else can listen there either
        self._nowhere.bind(("127.0.0.1", 0))
        self._told: queue.SimpleQueue[tuple[Any] | None] = queue.SimpleQueue()
        self._open: list[socket.socket] = []
        self._say: Callable[[object], None] | None = None
        self.daemon: Daemon | None = None
        """the program's own daemon, where the behaviour has one"""
        self.context = self.server_context()
        """of the server that ``accept`` plays: one for all its connections, so that sessions can be resumed"""

    @staticmethod
    def _listen(family: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", 0), family=family)
        listener.settimeout(PATIENCE_S)
        return listener

    def world(self) -> dict[str, Any]:
        """Return what the program is told about its surroundings."""
        return {
            "version": self.version,
            "role": self._role,
            "peer": self._listener.getsockname(),
            "peer6": self._listener6.getsockname(),
            "nowhere": self._nowhere.getsockname(),
            "files": str(self.files.path),
            "arguments": {},
        }

    # -- with the program

    def begin(self, say: Callable[[object], None]) -> None:
        """The program has started, and this is how to speak to it."""
        self._say = say

    def told(self, value: object) -> None:
        """The program has told something."""
        self._told.put((value,))

    def hear(self) -> Any:
        """Wait for what the program tells next.  Raises Aborted."""
        told = self._told.get(timeout=PATIENCE_S)
        if told is None:
            raise Aborted
        return told[0]

    def heard_within(self, wait_s: float) -> bool:
        """Say whether the program tells something in the next moments."""
        with contextlib.suppress(queue.Empty):
            if (told := self._told.get(timeout=wait_s)) is None:
                raise Aborted
            self._told.put(told)
            return True
        return False

    def say(self, value: object = None) -> None:
        """Let the program's ``wait`` return."""
        assert self._say is not None
        self._say(value)

    # -- as a server

    def accept_raw(self, family: int = socket.AF_INET) -> socket.socket:
        """Take the next TCP connection."""
        try:
            raw, _ = (self._listener if family == socket.AF_INET else self._listener6).accept()
        except OSError as error:
            raise Aborted from error
        return self._kept(raw)

    def accept(self, family: int = socket.AF_INET, context: ssl.SSLContext | None = None) -> Connection:
        """Take the next connection, through its handshake."""
        return self.secure(self.accept_raw(family), context)

    def secure(self, raw: socket.socket, context: ssl.SSLContext | None = None) -> Connection:
        """Go through the server's handshake on a TCP connection."""
        if not self.tls:
            return Connection(raw)
        context = context or self.context
        return Connection(self._kept(context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)))

    def listen_again(self, backlog: int) -> None:
        """Change the listener's backlog."""
        self._listener.listen(backlog)

    def fill_backlog(self) -> socket.socket:
        """Leave no room for another TCP connection until the next ``accept_raw``."""
        self._listener.listen(0)
        return self._kept(socket.create_connection(self._listener.getsockname(), PATIENCE_S))

    # -- as a client

    def connect_raw(self, port: int, family: int = socket.AF_INET) -> socket.socket:
        """Make a TCP connection to the program."""
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        return self._kept(socket.create_connection((host, port), PATIENCE_S))

    def connect(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        *,
        family: int = socket.AF_INET,
        name: str = NAME,
        session: ssl.SSLSession | None = None,
    ) -> Connection:
        """Make a connection to the program, through its handshake."""
        return self.secure_client(self.connect_raw(port, family), context, name=name, session=session)

    def secure_client(
        self,
        raw: socket.socket,
        context: ssl.SSLContext | None = None,
        *,
        name: str | None = NAME,
        session: ssl.SSLSession | None = None,
    ) -> Connection:
        """Go through the client's handshake on a TCP connection."""
        if not self.tls:
            return Connection(raw)
        context = context or self.client_context()
        secured = context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False)
        return Connection(self._kept(secured))

    def meet(self) -> Connection:
        """Be the peer of the program's ``connected``."""
        return self.accept() if self._role == "initiator" else self.connect(self.hear())

    # -- contexts

    def server_context(self, name: str = "server", **more: Any) -> ssl.SSLContext:
        return self._pin(self.files.server_context(name, **more))

    def client_context(self, name: str | None = None, **more: Any) -> ssl.SSLContext:
        return self._pin(self.files.client_context(name, **more))

    def _pin(self, context: ssl.SSLContext) -> ssl.SSLContext:
        if self.version is not None:
            context.minimum_version = context.maximum_version = _VERSIONS[self.version]
        return context

    # -- the end

    def _kept(self, raw: Any) -> Any:
        raw.settimeout(PATIENCE_S)
        self._open.append(raw)
        return raw

    def abort(self) -> None:
        """Wake the peer, whatever it waits for."""
        self._told.put(None)
        for waiting in (self._listener, self._listener6, *self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(waiting, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close whatever is left open."""
        for left in (self._listener, self._listener6, self._nowhere, *self._open):
            left.close()


def quiet(connection: socket.socket, wait_s: float) -> bool:
    """Say whether nothing comes for some moments, not even an end."""
    return not select.select([connection], [], [], wait_s)[0]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut data into pieces."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
