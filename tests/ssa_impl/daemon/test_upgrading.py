"""TCP_UPGRADE_TLS in the daemon: a TCP connection goes on in TLS, in either role, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import trio

from ssa_impl.abi import Opt
from ssa_impl.control.messages import Hello, Upgrade
from ssa_impl.policy.model import Profile
from tests.certificates import NAME, authority
from tests.ssa_impl.credentials import issued
from tests.ssa_impl.daemon.lines import receive, receive_exactly, send_all, tcp_pair
from tests.ssa_impl.daemon.sessions import Booth, Peer, Visitor, option, play, so_error, text
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.tls.peers import MemoryClient, MemoryPeer, client_context, server_context

BOTH = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
ROLES = pytest.mark.parametrize("initiator", [True, False], ids=["client", "server"])
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


class Line:
    """A TCP connection of the application's, and its peer."""

    def __init__(self) -> None:
        self.tcp, self.far = tcp_pair()
        self.far.setblocking(False)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.tcp.close()
        self.far.close()


async def prepare(booth: Booth, *, initiator: bool) -> bytes:
    """Set what the role needs; return the option's value."""
    booth.application.close()
    if initiator:
        await booth.open(hostname=None)
        return NAME.encode() + b"\0"
    assert (await booth.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == 0
    assert await booth.set(Opt.TLS_CERTIFICATE_CHAIN, issued().chain) == 0
    assert await booth.set(Opt.TLS_PRIVATE_KEY, issued().key) == 0
    return b""


def start(booth: Booth, tcp: socket.socket, hostname: bytes, *, blocking: bool) -> int:
    """Send the request as a boundary does, whose application gets the other end of a new pair."""
    booth.application, daemons = socket.socketpair()
    booth.application.setblocking(blocking)
    with daemons:
        ends = [tcp.fileno(), daemons.fileno(), *([] if blocking else [booth.application.fileno()])]
        return booth.post(lambda n: Upgrade(n, hostname, blocking), ends)


async def upgrade(booth: Booth, line: Line, hostname: bytes, *, blocking: bool) -> int:
    """Upgrade; the application's TCP socket is no more.  Return what the application finds."""
    number = start(booth, line.tcp, hostname, blocking=blocking)
    line.tcp.close()
    code = (await booth.reply_to(number)).errno
    if not blocking and code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(booth.application)
        code = await so_error(booth)
    return code


def other_side(line: Line, version: str, *, initiator: bool) -> Visitor:
    """Return the peer of the application's role."""
    tls: MemoryPeer = MemoryPeer(server_context(version)) if initiator else MemoryClient(client_context(version))
    return Visitor(line.far, None, tls)


async def both(*parts: Callable[[], Coroutine[Any, Any, object]]) -> list[object]:
    """Run two at once; return what they return."""
    results: list[object] = [None] * len(parts)

    async def one(index: int) -> None:
        results[index] = await parts[index]()

    async with trio.open_nursery() as nursery:
        for index in range(len(parts)):
            nursery.start_soon(one, index)
    return results


@VERSIONS
@ROLES
@BOTH
def test_words_in_the_clear_then_in_tls(version: str, initiator: bool, blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=initiator)
        with Line() as line:
            near, far = line.tcp.getsockname(), line.far.getsockname()
            line.tcp.send(b"STARTTLS")
            assert await receive_exactly(line.far, 8) == b"STARTTLS"
            visitor = other_side(line, version, initiator=initiator)
            code, _ = await both(lambda: upgrade(booth, line, hostname, blocking=blocking), visitor.shake_hands)
            assert code == 0
            booth.application.setblocking(False)
            await send_all(booth.application, b"secret")
            assert await visitor.hear(6) == b"secret"
            await visitor.say(b"answer")
            assert await receive_exactly(booth.application, 6) == b"answer"
            assert await option(booth, Opt.TLS_VERSION_CONN) == struct.pack("=i", {"1.2": 0x303, "1.3": 0x304}[version])
            assert (await booth.name(), await booth.name(peer=True)) == (near, far)
            await visitor.bid_farewell()
            assert await receive(booth.application) == b""
            booth.application.close()
            assert await visitor.hear(1) == b""

    play(scene)
    before = open_descriptors()
    play(scene)
    assert open_descriptors() == before


@ROLES
@BOTH
def test_an_upgrade_that_fails_leaves_no_connection_in_the_clear(initiator: bool, blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=initiator)
        with Line() as line:
            copy = line.tcp.dup()

            async def misbehave() -> None:
                await send_all(line.far, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                with contextlib.suppress(ConnectionResetError):
                    while await receive(line.far):
                        pass

            code, _ = await both(lambda: upgrade(booth, line, hostname, blocking=blocking), misbehave)
            assert code == errno.EPROTO
            assert await text(booth)
            with copy, pytest.raises(BrokenPipeError):  # whoever has a copy of it
                copy.send(b"in the clear")
            with contextlib.suppress(ConnectionResetError):
                assert booth.application.recv(1) == b""
            assert await booth.set(Opt.TLS_ALPN, b"h2\0") == errno.EBADFD

    play(scene)
    before = open_descriptors()
    play(scene)
    assert open_descriptors() == before


@BOTH
@pytest.mark.parametrize("fault", ["name", "expired", "untrusted"])
def test_a_certificate_that_does_not_hold(fault: str, blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        with Line() as line:
            visitor = Visitor(line.far, server_context("1.3", fault))

            async def suffer() -> None:
                with contextlib.suppress(ssl.SSLError, EOFError, ConnectionError):
                    await visitor.shake_hands()
                    await visitor.hear(1)

            code, _ = await both(lambda: upgrade(booth, line, hostname, blocking=blocking), suffer)
            assert code == errno.EPROTO
            assert "certificate" in await text(booth)

    play(scene)


def test_a_non_blocking_upgrade_is_not_writable_before_the_handshake_has_ended() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        with Line() as line:
            number = start(booth, line.tcp, hostname, blocking=False)
            assert (await booth.reply_to(number)).errno == errno.EINPROGRESS
            visitor = other_side(line, "1.3", initiator=True)
            while not visitor.tls.ready:
                assert not select.select([], [booth.application], [], 0)[1]
                await visitor.take()
            await trio.lowlevel.wait_writable(booth.application)
            assert await so_error(booth) == 0
            await send_all(booth.application, b"first word")
            assert await visitor.hear(10) == b"first word"

    play(scene)


def test_options_that_were_set_before_hold() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        assert await booth.set(Opt.TLS_ALPN, b"h2\0") == 0
        assert await booth.set(Opt.TLS_VERSION_MAX, struct.pack("=i", 0x0303)) == 0
        with Line() as line:
            line.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
            context = authority().server_context()
            context.set_alpn_protocols(["h2"])
            visitor = Visitor(line.far, context)
            code, _ = await both(lambda: upgrade(booth, line, hostname, blocking=True), visitor.shake_hands)
            assert code == 0
            assert await text(booth, Opt.TLS_ALPN) == "h2"
            assert await option(booth, Opt.TLS_VERSION_CONN) == struct.pack("=i", 0x0303)
            assert await option(booth, socket.TCP_NODELAY, socket.IPPROTO_TCP, 4) == bytes(4)

    play(scene)


def test_a_hostname_that_was_set_before_makes_a_client() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        assert await booth.set(Opt.TLS_REMOTE_HOSTNAME, hostname) == 0
        with Line() as line:
            visitor = other_side(line, "1.3", initiator=True)
            code, _ = await both(lambda: upgrade(booth, line, b"", blocking=True), visitor.shake_hands)
            assert code == 0

    play(scene)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0"])
def test_no_hostname_makes_a_server(value: bytes) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await prepare(booth, initiator=False)
        with Line() as line:
            visitor = other_side(line, "1.3", initiator=False)
            code, _ = await both(lambda: upgrade(booth, line, value, blocking=True), visitor.shake_hands)
            assert code == 0
            assert await text(booth, Opt.TLS_HOSTNAME) == NAME

    play(scene)


def test_a_peer_that_is_silent_has_as_long_as_with_accept() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=False)
        with Line() as line:
            started = trio.current_time()
            assert await upgrade(booth, line, hostname, blocking=True) == errno.EPROTO
            assert 6 <= trio.current_time() - started < 10

    play(scene, profile=Profile(accept_timeout_s=7))


# -- what cannot be upgraded: it stays as it was


@BOTH
@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("unix", errno.EOPNOTSUPP),
        ("udp", errno.EOPNOTSUPP),
        ("unconnected", errno.ENOTCONN),
        ("listening", errno.ENOTCONN),
    ],
)
def test_only_a_connected_tcp_socket_can_be_upgraded(case: str, code: int, blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        made = {
            "unix": lambda: socket.socket(socket.AF_UNIX),
            "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "unconnected": socket.socket,
            "listening": lambda: socket.create_server(("127.0.0.1", 0)),
        }[case]()
        with made:
            assert (await booth.reply_to(start(booth, made, hostname, blocking=blocking))).errno == code
            assert made.fileno() >= 0
            assert os.fstat(made.fileno())
        with Line() as line:  # and another may follow
            booth.application.close()
            visitor = other_side(line, "1.3", initiator=True)
            result, _ = await both(lambda: upgrade(booth, line, hostname, blocking=blocking), visitor.shake_hands)
            assert result == 0

    play(scene)


@pytest.mark.parametrize(
    ("hostname", "code"),
    [(b"not a name\0", errno.EINVAL), (b"no NUL", errno.EINVAL), (b"", errno.EPROTO)],
    ids=["malformed", "no NUL", "a server without a certificate"],
)
def test_a_request_that_is_refused_leaves_the_connection_in_the_clear(hostname: bytes, code: int) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await prepare(booth, initiator=True)
        with Line() as line:
            assert (await booth.reply_to(start(booth, line.tcp, hostname, blocking=True))).errno == code
            assert await text(booth)
            line.tcp.send(b"as before")
            assert await receive_exactly(line.far, 9) == b"as before"

    play(scene)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_request_with_too_few_or_too_many_descriptors(count: int, blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        with Line() as line:
            reply = await booth.ask(lambda n: Upgrade(n, hostname, blocking), [line.tcp.fileno()] * count)
            assert reply.errno == errno.EOPNOTSUPP

    play(scene)


def test_a_boundary_that_hangs_up_in_the_middle_ends_the_connection() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        with Line() as line:
            start(booth, line.tcp, hostname, blocking=True)
            line.tcp.close()
            assert await receive(line.far)  # the ClientHello
            booth.close()
            await booth.ended.wait()
            with contextlib.suppress(ConnectionResetError):
                assert await receive(line.far) == b""

    play(scene)
    before = open_descriptors()
    play(scene)
    assert open_descriptors() == before


@BOTH
@pytest.mark.parametrize("whose", ["another user's", "the network's", "nobody's"])
def test_nothing_is_written_to_what_is_no_pair_of_the_applications(whose: str, blocking: bool) -> None:
    """A server that asks the kernel who writes (SCM_CREDENTIALS) would hear: the daemon."""

    async def scene(booth: Booth, _peer: Peer) -> None:
        hostname = await prepare(booth, initiator=True)
        booth.session.uid += whose == "another user's"
        family = socket.AF_INET if whose == "the network's" else socket.AF_UNIX
        with Line() as line, Line() as other, socket.socket(family) as alone:
            left, right = socket.socketpair()
            end = {"another user's": left, "the network's": other.tcp}.get(whose, alone)
            ends = [line.tcp.fileno(), end.fileno(), *([] if blocking else [right.fileno()])]
            reply = await booth.ask(lambda n: Upgrade(n, hostname, blocking), ends)
            left.close()
            right.close()
            assert reply.errno == errno.EINVAL
            line.tcp.send(b"clear")
            assert await receive_exactly(line.far, 5) == b"clear"

    play(scene)
