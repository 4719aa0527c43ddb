"""AF_HOSTNAME: the daemon looks the name up, tries what it finds in turn, and asks the peer for that name."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

import pytest
import trio

from ssa_impl.abi import AF_HOSTNAME, Opt
from ssa_impl.sockets.addresses import Address
from tests.certificates import NAME
from tests.ssa_impl.daemon.sessions import Booth, Peer, Visitor, option, play, so_error, text

BOTH = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
V4, V6 = socket.AF_INET, socket.AF_INET6


def sockaddr_host(name: str = NAME, port: int = 443) -> bytes:
    return struct.pack("=H", AF_HOSTNAME) + struct.pack("!H255s", port, name.encode())


class Resolver(trio.abc.HostnameResolver):
    """Finds what it was told, or fails."""

    def __init__(self, *found: tuple[int, Address], failure: Exception | None = None) -> None:
        self._found = found
        self._failure = failure
        self.asked: list[tuple[Any, Any]] = []

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        self.asked.append((host, port))
        assert type == socket.SOCK_STREAM
        if self._failure is not None:
            raise self._failure
        return [(family, type, 6, "", address) for family, address in self._found]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


async def finish(booth: Booth, visitor: Visitor) -> None:
    booth.application.close()
    booth.hang_up()
    assert await visitor.hear(1) == b""
    visitor.connection.close()


def closed_port() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return gone.getsockname()


@BOTH
def test_a_name_is_looked_up_and_becomes_the_hostname(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        resolver = Resolver((V4, peer.address))
        trio.socket.set_custom_hostname_resolver(resolver)
        await booth.open(hostname=None)
        number = booth.start_connect(sockaddr_host(port=4433), blocking=blocking)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == (0 if blocking else errno.EINPROGRESS)
        await trio.lowlevel.wait_writable(booth.application)
        assert await so_error(booth) == 0
        assert await text(booth, Opt.TLS_REMOTE_HOSTNAME) == NAME
        assert await booth.name(peer=True) == peer.address
        assert resolver.asked == [(NAME.encode(), 4433)]
        await finish(booth, visitor)

    play(scene)


def test_a_hostname_that_was_set_is_the_one_that_is_asked_for() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        trio.socket.set_custom_hostname_resolver(Resolver((V4, peer.address)))
        await booth.open()
        number = booth.start_connect(sockaddr_host("elsewhere.test"))
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        assert await text(booth, Opt.TLS_REMOTE_HOSTNAME) == NAME
        await finish(booth, visitor)

    play(scene)


@pytest.mark.parametrize("other", ["refused", "family"])
def test_what_was_found_is_tried_in_turn(other: str) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        first = (V4, closed_port()) if other == "refused" else (V6, ("::1", closed_port()[1], 0, 0))
        trio.socket.set_custom_hostname_resolver(Resolver(first, (V4, peer.address)))
        await booth.open(hostname=None)
        assert await booth.set(socket.TCP_NODELAY, bytes(4), socket.IPPROTO_TCP) == 0
        number = booth.start_connect(sockaddr_host())
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        assert await booth.name(peer=True) == peer.address
        assert await option(booth, socket.TCP_NODELAY, socket.IPPROTO_TCP, 4) == bytes(4)
        await finish(booth, visitor)

    play(scene)


def test_one_that_does_not_answer_is_left_for_the_next() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        with socket.socket() as deaf, socket.socket() as filler:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)  # one place in its queue, and it is taken
            filler.connect(deaf.getsockname())
            trio.socket.set_custom_hostname_resolver(Resolver((V4, deaf.getsockname()), (V4, peer.address)))
            await booth.open(hostname=None)
            number = booth.start_connect(sockaddr_host())
            started = trio.current_time()
            visitor = await peer.shake_hands()
            assert 4 <= trio.current_time() - started <= 10
            assert (await booth.reply_to(number)).errno == 0
            await finish(booth, visitor)

    play(scene)


@BOTH
def test_when_none_answers_the_last_ones_errno_is_given(blocking: bool) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        last = closed_port()
        trio.socket.set_custom_hostname_resolver(Resolver((V4, closed_port()), (V4, last)))
        await booth.open(hostname=None)
        code = await booth.connect(sockaddr_host(), blocking=blocking)
        if not blocking:
            assert code == errno.EINPROGRESS
            await trio.lowlevel.wait_writable(booth.application)
            code = await so_error(booth)
        assert code == errno.ECONNREFUSED
        assert f"port {last[1]}" in await text(booth)

    play(scene)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), errno.EHOSTUNREACH),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), errno.EAGAIN),
        (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), errno.EHOSTUNREACH),
    ],
    ids=["unknown", "again", "fail"],
)
def test_a_name_that_cannot_be_looked_up_can_be_tried_again(failure: Exception, code: int) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        trio.socket.set_custom_hostname_resolver(Resolver(failure=failure))
        await booth.open(hostname=None)
        assert await booth.connect(sockaddr_host()) == code
        assert NAME in await text(booth)
        trio.socket.set_custom_hostname_resolver(Resolver((V4, peer.address)))
        number = booth.start_connect(sockaddr_host())
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        await finish(booth, visitor)

    play(scene)


@pytest.mark.parametrize(
    "address",
    [sockaddr_host()[:-1], sockaddr_host("a b"), sockaddr_host(""), sockaddr_host("-a.test"), sockaddr_host("a" * 255)],
    ids=["short", "space", "empty", "hyphen", "no NUL"],
)
def test_what_is_no_name_is_not_looked_up(address: bytes) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        resolver = Resolver()
        trio.socket.set_custom_hostname_resolver(resolver)
        await booth.open(hostname=None)
        assert await booth.connect(address) == errno.EINVAL
        assert resolver.asked == []

    play(scene)
