"""Peers for the engine: the standard library's TLS over memory BIOs, and how to let the two talk."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Policy, Request, Settings
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME, authority

ROOM_BYTES = 262_144


def settings(hostname: str = NAME, policy: Policy = Policy(), **request: object) -> Settings:  # noqa: B008
    """Return settings that trust the tests' authority."""
    request.setdefault("anchors_pem", authority().anchors_pem)
    return resolve(policy, Request(hostname, **request))  # type: ignore[arg-type]


def new_engine(hostname: str = NAME, policy: Policy = Policy(), **request: object) -> Engine:  # noqa: B008
    """Return an engine that trusts the tests' authority."""
    made = settings(hostname, policy, **request)
    return Engine(context_for(made), made)


def server_context(version: str = "1.3", fault: str = "", *, rsa: bool = False) -> ssl.SSLContext:
    """Return a server's context for one TLS version."""
    context = authority().server_context(fault, rsa=rsa)
    only = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    context.minimum_version = context.maximum_version = only
    return context


class MemoryPeer:
    """A TLS server without sockets."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or server_context()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = False
        self.closed = False
        """whether the engine ended its side in order"""

    def receive(self, ciphertext: bytes) -> None:
        """Take what arrived; go on with the handshake if it is not complete.  Raises ssl.SSLError."""
        self._incoming.write(ciphertext)
        if not self.ready:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                return
            self.ready = True

    def read(self) -> bytes:
        """Return all plain text there is; note the engine's close_notify.  Raises ssl.SSLError."""
        data = bytearray()
        while not self.closed:
            try:
                piece = self.tls.read(65_536)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:  # when both have ended
                piece = b""
            self.closed = not piece
            data += piece
        return bytes(data)

    def write(self, plaintext: bytes) -> None:
        """Encrypt."""
        self.tls.write(plaintext)

    def close(self) -> None:
        """Say close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            return

    def output(self) -> bytes:
        """Return ciphertext to send."""
        return self._outgoing.read()


def everything(engine: Engine) -> bytes:
    """Return all ciphertext that the engine has to send."""
    return b"".join(iter(engine.output, b""))


def read_all(engine: Engine, room_bytes: int = ROOM_BYTES) -> bytes:
    """Return all plain text that the engine has."""
    room = memoryview(bytearray(room_bytes))
    data = bytearray()
    while size := engine.read_into(room):
        data += room[:size]
    return bytes(data)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """Cut ``data``."""
    return (data[start : start + size] for start in range(0, len(data), size))


def shake_hands(engine: Engine, peer: MemoryPeer, size: int = ROOM_BYTES) -> None:
    """Complete the handshake, ``size`` bytes at a time; whatever fails is raised."""
    complete = engine.handshake()
    for _ in range(10):
        for piece in pieces(everything(engine), size):
            peer.receive(piece)
        for piece in pieces(peer.output(), size):
            engine.receive(piece)
            complete = complete or engine.handshake()
        if complete and peer.ready:
            return
    raise AssertionError("the two do not come to an end")


def connected(context: ssl.SSLContext | None = None) -> tuple[Engine, MemoryPeer]:
    """Return an engine and its peer after the handshake."""
    engine, peer = new_engine(), MemoryPeer(context)
    shake_hands(engine, peer)
    return engine, peer
