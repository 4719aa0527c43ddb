"""trio's own checks of what a stream is, on two applications whose daemons talk to each other.

    application -- relay, initiator's engine -- wire -- acceptor's engine, relay -- application

What an application holds is a plain unix socket, so trio's SocketStream stands for it; everything in the middle is the
daemon's.  The clock jumps over waiting, and runs a hundred times faster while somebody is busy: a stream whose other
end has gone must break, and a relay lingers for some seconds before it does.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable
from functools import cache

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives import serialization

from ssa_impl.daemon.relay import Relay, Wire
from ssa_impl.errors import SsaError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Identity, Profile, Request, Role
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME, authority
from tests.ssa_impl.daemon.lines import push, tcp_pair
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.tls.peers import everything

VERSIONS = {"1.2": 0x0303, "1.3": 0x0304}
Streams = tuple[trio.SocketStream, trio.SocketStream]
Check = Callable[[Callable[[], Awaitable[Streams]], Callable[[], Awaitable[Streams]]], Awaitable[None]]


@cache
def identity() -> Identity:
    """Return the acceptor's certificate."""
    issued = authority().credentials()
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    der = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Identity(b"".join(part.bytes() for part in issued.cert_chain_pems), der)


def initiator(version: str) -> Engine:
    """Return an engine that wants the tests' peer."""
    only = VERSIONS[version]
    settings = resolve(Profile(), Request(NAME, authority().anchors_pem, version_min=only, version_max=only))
    return Engine(context_for(settings), settings)


def acceptor(version: str) -> Engine:
    """Return an engine that is the tests' peer."""
    only = VERSIONS[version]
    request = Request(identities=(identity(),), version_min=only, version_max=only)
    settings = resolve(Profile(), request, Role.ACCEPTOR)
    return Engine(context_for(settings), settings)


def engines(version: str) -> tuple[Engine, Engine]:
    """Return initiator and acceptor after their handshake."""
    left, right = initiator(version), acceptor(version)
    ready = False
    while not ready:
        ready = left.handshake()
        right.receive(everything(left))
        ready = right.handshake() and ready
        left.receive(everything(right))
    return left, right


async def carry(inner: socket.socket, outer: socket.socket, engine: Engine) -> None:
    """Run one relay, as the session does."""
    with inner, outer, contextlib.suppress(SsaError):
        await Relay(inner, Wire(outer, engine), engine).run()


class Maker:
    """Makes connections whose relays run in one nursery."""

    def __init__(self, nursery: trio.Nursery, version: str, *, tcp: bool) -> None:
        self._nursery = nursery
        self._version = version
        self._tcp = tcp

    async def __call__(self) -> Streams:
        """Connect two applications."""
        left, right = engines(self._version)
        wires = tcp_pair() if self._tcp else socket.socketpair()
        return self._application(wires[0], left), self._application(wires[1], right)

    def _application(self, outer: socket.socket, engine: Engine) -> trio.SocketStream:
        application, inner = socket.socketpair()
        for end in (application, inner, outer):
            end.setblocking(False)
        self._nursery.start_soon(carry, inner, outer, engine)
        return trio.SocketStream(trio.socket.from_stdlib_socket(application))

    async def clogged(self) -> Streams:
        """Connect two applications, and let each write until nothing moves any more."""
        both = await self()
        moved = True
        while moved:
            moved = False
            for stream in both:
                with socket.socket(fileno=stream.socket.fileno()) as plain:
                    while push(plain, bytes(65_536)):
                        moved = True
                    plain.detach()
            await trio.testing.wait_all_tasks_blocked(0.01 if self._tcp else 0)
        return both


def run(check: Check, version: str, *, tcp: bool) -> None:
    """Check; afterwards every relay must have ended by itself, and nothing be open."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            make = Maker(nursery, version, tcp=tcp)
            await check(make, make.clogged)

    engines(version)
    before = open_descriptors()
    trio.run(main, clock=trio.testing.MockClock(rate=100, autojump_threshold=0.5 if tcp else 0.02))
    assert open_descriptors() == before


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("check", [trio.testing.check_two_way_stream, trio.testing.check_half_closeable_stream])
def test_a_secure_socket_is_a_stream(check: Check, version: str) -> None:
    run(check, version, tcp=False)


def test_over_tcp() -> None:
    run(trio.testing.check_half_closeable_stream, "1.3", tcp=True)
