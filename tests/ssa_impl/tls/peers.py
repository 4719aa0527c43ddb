"""Peers for the engine: the standard library's TLS over memory BIOs, and how to let the two talk."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Identity, Profile, Request, Role, Settings
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME, authority
from tests.ssa_impl.credentials import Credential, anchors, issued

ROOM_BYTES = 262_144
ONLY = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def settings(hostname: str = NAME, profile: Profile = Profile(), **request: object) -> Settings:  # noqa: B008
    """Return settings that trust the tests' authority."""
    request.setdefault("anchors_pem", authority().anchors_pem)
    return resolve(profile, Request(hostname, **request))  # type: ignore[arg-type]


def new_engine(hostname: str = NAME, profile: Profile = Profile(), **request: object) -> Engine:  # noqa: B008
    """Return an engine that trusts the tests' authority."""
    made = settings(hostname, profile, **request)
    return Engine(context_for(made), made)


def server_context(version: str = "1.3", fault: str = "", *, rsa: bool = False) -> ssl.SSLContext:
    """Return a server's context for one TLS version."""
    context = authority().server_context(fault, rsa=rsa)
    context.minimum_version = context.maximum_version = ONLY[version]
    return context


def acceptor_settings(*identities: Identity, profile: Profile = Profile(), **request: object) -> Settings:  # noqa: B008
    """Return settings of a server that trusts the tests' authority, should it ask for certificates."""
    request.setdefault("anchors_pem", anchors())
    return resolve(profile, Request(identities=identities or (issued().identity,), **request), Role.ACCEPTOR)  # type: ignore[arg-type]


def acceptor(*identities: Identity, **request: object) -> Engine:
    """Return a server's engine."""
    made = acceptor_settings(*identities, **request)
    return Engine(context_for(made), made)


def client_context(version: str | None = None, *, presenting: Credential | None = None) -> ssl.SSLContext:
    """Return a context of a client that trusts the tests' authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=anchors().decode("ascii"))
    if version is not None:
        context.minimum_version = context.maximum_version = ONLY[version]
    return context if presenting is None else presenting.load_into(context)


class MemoryPeer:
    """A TLS server without sockets."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self._wrap(context or server_context())
        self.ready = False
        self.closed = False
        """whether the engine ended its side in order"""

    def _wrap(self, context: ssl.SSLContext) -> ssl.SSLObject:
        return context.wrap_bio(self._incoming, self._outgoing, server_side=True)

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


class MemoryClient(MemoryPeer):
    """A TLS client without sockets; ``name`` None: it names nobody, and takes any name."""

    def __init__(
        self, context: ssl.SSLContext | None = None, name: str | None = NAME, session: ssl.SSLSession | None = None
    ) -> None:
        self._name, self._session = name, session
        context = context or client_context()
        context.check_hostname = name is not None
        super().__init__(context)
        self.receive(b"")  # the first word is the client's

    def _wrap(self, context: ssl.SSLContext) -> ssl.SSLObject:
        return context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._name, session=self._session)


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
