"""One secure socket in the daemon, from the control channel's side: what is answered, and what is released."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import struct
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from ssa_impl.abi import IPPROTO_TLS, MAX_FILE_BYTES, Opt
from ssa_impl.control.channel import send
from ssa_impl.control.messages import Bind, Connect, GetName, Hello, Refusal, SetOption
from ssa_impl.policy.model import Profile
from ssa_impl.sockets.addresses import build_sockaddr, parse_sockaddr
from tests.certificates import authority
from tests.ssa_impl.daemon.lines import receive, receive_exactly, send_all
from tests.ssa_impl.daemon.sessions import NUMBER, Booth, Peer, Visitor, option, play, so_error, text
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.tls.peers import server_context

BOTH = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])


def writable(application: socket.socket) -> bool:
    return bool(select.select([], [application], [], 0)[1])


async def connected(booth: Booth, peer: Peer, *, blocking: bool = True) -> Visitor:
    """Connect in order; return the peer's side."""
    await booth.open()
    number = booth.start_connect(peer.sockaddr, blocking=blocking)
    visitor = await peer.shake_hands()
    assert (await booth.reply_to(number)).errno == (0 if blocking else errno.EINPROGRESS)
    if not blocking:
        await trio.lowlevel.wait_writable(booth.application)
        assert await so_error(booth) == 0
    booth.application.setblocking(False)
    return visitor


async def finish(booth: Booth, visitor: Visitor) -> None:
    """Close on both sides; the session must end by itself then."""
    booth.application.close()
    assert await visitor.hear(1) == b""
    visitor.connection.close()
    with trio.fail_after(100):
        await booth.ended.wait()


# -- connect


@BOTH
def test_connect_and_talk(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer, blocking=blocking)
        await send_all(booth.application, b"question")
        assert await visitor.hear(8) == b"question"
        await visitor.say(b"answer")
        assert await receive_exactly(booth.application, 6) == b"answer"
        await finish(booth, visitor)

    play(scene)


def test_everything_is_released_when_it_is_over() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await finish(booth, await connected(booth, peer))

    play(scene)  # whatever is made once is made now
    before = open_descriptors()
    play(scene)
    assert open_descriptors() == before


def test_the_applications_socket_is_not_connected_before_the_handshake_has_ended() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr)
        connection = await peer.accept()
        await receive(connection)
        with pytest.raises(OSError, match="not connected"):
            booth.application.getpeername()
        connection.close()
        assert (await booth.reply_to(number)).errno == errno.EPROTO
        with pytest.raises(OSError, match="not connected"):
            booth.application.getpeername()

    play(scene)


def test_a_non_blocking_connect_is_not_writable_before_the_handshake_has_ended() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        assert await booth.connect(peer.sockaddr, blocking=False) == errno.EINPROGRESS
        visitor = Visitor(await peer.accept(), None)
        assert not writable(booth.application)
        while not visitor.tls.ready:
            assert not writable(booth.application)
            await visitor.take()
        await trio.lowlevel.wait_writable(booth.application)
        assert await so_error(booth) == 0
        await finish(booth, visitor)

    play(scene)


FAULTS = [
    ("name", "certificate is not for server.ssa.test"),
    ("expired", "certificate has expired"),
    ("untrusted", "unable to get local issuer certificate"),
]


@BOTH
@pytest.mark.parametrize(("fault", "reason"), FAULTS, ids=[fault for fault, _ in FAULTS])
def test_a_certificate_that_does_not_hold(fault: str, reason: str, blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr, blocking=blocking)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_suffer, peer)
            code = (await booth.reply_to(number)).errno
            if not blocking:
                assert code == errno.EINPROGRESS
                await trio.lowlevel.wait_writable(booth.application)
                code = await so_error(booth)
        assert code == errno.EPROTO
        assert reason in await text(booth)
        if not blocking:
            with pytest.raises(ConnectionResetError):
                booth.application.recv(1)

    play(scene, context=server_context("1.3", fault))


async def _suffer(peer: Peer) -> None:
    """Shake hands with somebody who does not want to, until the wire has ended."""
    with contextlib.suppress(ssl.SSLError, EOFError):
        visitor = await peer.shake_hands()
        with visitor.closing_on_failure():
            while not await visitor.hear(1):
                if visitor.tls.closed:
                    visitor.connection.close()
                    return


def test_a_failed_connect_may_be_tried_again_and_nothing_of_the_first_is_left() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr)
        first = await peer.accept()
        await receive(first)
        await send_all(first, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert (await booth.reply_to(number)).errno == errno.EPROTO
        assert "speaks no TLS" in await text(booth)
        while await receive(first):  # an alert, then the end
            pass
        first.close()
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        booth.application.setblocking(False)
        await finish(booth, visitor)

    play(scene)


def test_refused_is_the_kernels_errno_and_may_be_tried_again() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        with socket.create_server(("127.0.0.1", 0)) as gone:
            address = gone.getsockname()
        assert await booth.connect(build_sockaddr(socket.AF_INET, address)) == errno.ECONNREFUSED
        assert await text(booth) == f"connect to 127.0.0.1 port {address[1]}: Connection refused"
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        await finish(booth, visitor)

    play(scene)


def test_a_non_blocking_failure_is_for_good() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        assert await booth.connect(peer.sockaddr, blocking=False) == errno.EINPROGRESS
        (await peer.accept()).close()
        await trio.lowlevel.wait_writable(booth.application)
        assert await so_error(booth) == errno.EPROTO or await text(booth)
        assert await booth.connect(peer.sockaddr, blocking=False) == errno.EBADFD
        assert await booth.set(Opt.TLS_REMOTE_HOSTNAME, b"a\0") == errno.EBADFD

    play(scene)


@BOTH
def test_no_hostname_is_refused_before_anything_is_sent_and_can_be_mended(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open(hostname=None)
        assert await booth.connect(peer.sockaddr, blocking=blocking) == errno.EPROTO
        assert "TLS_REMOTE_HOSTNAME is not set" in await text(booth)
        assert await so_error(booth) == errno.ENOTCONN
        assert await booth.set(Opt.TLS_REMOTE_HOSTNAME, b"server.ssa.test\0") == 0
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        await finish(booth, visitor)

    play(scene)


@BOTH
def test_a_bad_address_changes_nothing(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        ipv6 = build_sockaddr(socket.AF_INET6, ("::1", 1, 0, 0))
        assert await booth.connect(ipv6, blocking=blocking) == errno.EAFNOSUPPORT
        assert await booth.connect(peer.sockaddr[:6], blocking=blocking) == errno.EINVAL
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        await finish(booth, visitor)

    play(scene)


@BOTH
def test_a_second_connect_is_ealready_and_does_not_disturb_the_first(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        first = booth.start_connect(peer.sockaddr, blocking=blocking)
        connection = await peer.accept()
        assert await booth.connect(peer.sockaddr, blocking=blocking) == errno.EALREADY
        assert await booth.connect(peer.sockaddr, blocking=not blocking) == errno.EALREADY
        visitor = Visitor(connection, None)
        while not visitor.tls.ready:
            await visitor.take()
        assert (await booth.reply_to(first)).errno == (0 if blocking else errno.EINPROGRESS)
        await trio.lowlevel.wait_writable(booth.application)
        assert await so_error(booth) == 0
        booth.application.setblocking(False)
        await send_all(booth.application, b"undisturbed")
        assert await visitor.hear(11) == b"undisturbed"
        await finish(booth, visitor)

    play(scene)


@BOTH
def test_a_connect_once_connected_is_eisconn_and_does_not_disturb_it(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        assert await booth.connect(peer.sockaddr, blocking=blocking) == errno.EISCONN
        booth.application.setblocking(False)
        await send_all(booth.application, b"undisturbed")
        assert await visitor.hear(11) == b"undisturbed"
        await finish(booth, visitor)

    play(scene)


@BOTH
def test_a_silent_peer_has_a_minute(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        started = trio.current_time()
        code = await booth.connect(peer.sockaddr, blocking=blocking)
        if not blocking:
            assert code == errno.EINPROGRESS
            await trio.lowlevel.wait_writable(booth.application)
            code = await so_error(booth)
        assert code == errno.EPROTO
        assert await text(booth) == "no handshake within 60 s"
        assert 59 < trio.current_time() - started < 70
        (await peer.accept()).close()

    play(scene)


def test_an_option_is_answered_while_a_connect_waits() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr)
        connection = await peer.accept()
        assert struct.unpack("=Q", await option(booth, Opt.TLS_ID)) == (NUMBER,)
        assert await booth.set(Opt.TLS_ALPN, b"h2\0") == errno.EOPNOTSUPP
        await receive(connection)
        connection.close()
        assert (await booth.reply_to(number)).errno == errno.EPROTO

    play(scene)


def test_a_bound_port_is_kept_over_a_failed_handshake() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        for level, name in ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            assert await booth.set(name, struct.pack("=i", 1), level) == 0
        free = build_sockaddr(socket.AF_INET, ("127.0.0.1", 0))
        assert (await booth.ask(lambda n: Bind(n, free))).errno == 0
        bound = (await booth.ask(lambda n: GetName(n, peer=False))).value
        port = parse_sockaddr(socket.AF_INET, bound)[1]
        for _ in range(2):
            number = booth.start_connect(peer.sockaddr)
            connection = await peer.accept()
            assert connection.getpeername()[1] == port
            await receive(connection)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            assert (await booth.reply_to(number)).errno == errno.ECONNRESET
        assert struct.unpack("=i", await option(booth, socket.TCP_NODELAY, socket.IPPROTO_TCP)) == (1,)

    play(scene)


def test_a_bound_port_that_is_still_busy_after_a_failure_is_the_next_connects_errno() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        free = build_sockaddr(socket.AF_INET, ("127.0.0.1", 0))
        assert (await booth.ask(lambda n: Bind(n, free))).errno == 0
        number = booth.start_connect(peer.sockaddr)
        connection = await peer.accept()
        await receive(connection)
        await send_all(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert (await booth.reply_to(number)).errno == errno.EPROTO
        assert "speaks no TLS" in await text(booth)
        while await receive(connection):
            pass
        connection.close()  # the daemon's side was closed first: its port waits (TIME_WAIT)
        assert await booth.connect(peer.sockaddr) == errno.EADDRINUSE

    play(scene)


# -- ends


def test_a_boundary_that_hangs_up_before_connect_ends_everything() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        booth.hang_up()
        await booth.ended.wait()

    play(scene)


@BOTH
def test_a_boundary_that_hangs_up_during_connect_ends_everything(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        booth.start_connect(peer.sockaddr, blocking=blocking)
        connection = await peer.accept()
        booth.hang_up()
        await booth.ended.wait()
        assert trio.current_time() < 10
        with contextlib.suppress(ConnectionResetError):
            while await receive(connection):
                pass
        connection.close()

    play(scene)


def test_once_connected_the_connection_lives_without_the_boundary() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        booth.hang_up()
        await wait_all_tasks_blocked()
        await send_all(booth.application, b"still here")
        assert await visitor.hear(10) == b"still here"
        await finish(booth, visitor)

    play(scene)


def test_truncation_is_a_reset_for_the_application() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        await visitor.say(b"half")
        visitor.connection.close()
        await booth.listen_for_reset()
        assert await receive_exactly(booth.application, 4) == b"half"
        with pytest.raises(ConnectionResetError):
            await receive(booth.application)
        assert "close_notify" in await text(booth)
        assert await so_error(booth) == errno.ECONNRESET
        assert await option(booth, Opt.TLS_VERSION_CONN) == struct.pack("=i", 0x0304)

    play(scene)


def test_a_session_that_failed_ends_when_the_boundary_hangs_up() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        visitor.connection.close()
        await booth.listen_for_reset()
        with pytest.raises(ConnectionResetError):
            await receive(booth.application)
        assert not booth.ended.is_set()
        booth.hang_up()
        with trio.fail_after(100):
            await booth.ended.wait()

    play(scene)


def test_a_session_that_fails_after_the_boundary_has_hung_up_ends_too() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        booth.hang_up()
        await wait_all_tasks_blocked()
        visitor.connection.close()
        with trio.fail_after(100):
            await booth.ended.wait()

    play(scene)


def test_results_are_there_until_the_application_closes_even_if_both_sides_have_ended() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        booth.application.shutdown(socket.SHUT_WR)
        assert await visitor.hear(1) == b""
        await visitor.bid_farewell()
        visitor.connection.close()
        assert await receive(booth.application) == b""
        await trio.sleep(100)
        assert await option(booth, Opt.TLS_VERSION_CONN) == struct.pack("=i", 0x0304)
        assert (await booth.ask(lambda n: GetName(n, peer=True))).value == peer.sockaddr
        assert await booth.set(socket.TCP_NODELAY, struct.pack("=i", 1), socket.IPPROTO_TCP) == 0

    play(scene)


def test_results_are_there_when_only_the_peer_has_ended() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        visitor = await connected(booth, peer)
        await visitor.bid_farewell()
        assert await receive(booth.application) == b""
        await trio.sleep(100)
        assert (await option(booth, Opt.TLS_CHOSEN_CIPHER)).startswith(b"TLS_")
        booth.application.close()
        assert await visitor.hear(1) == b""
        visitor.connection.close()
        booth.hang_up()  # as it does once it sees that nobody has the descriptor any more
        with trio.fail_after(100):
            await booth.ended.wait()

    play(scene)


# -- requests


def test_names_before_and_after() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        assert (await booth.ask(lambda n: GetName(n, peer=True))).errno == errno.ENOTCONN
        assert (await booth.ask(lambda n: GetName(n, peer=False))).value == build_sockaddr(
            socket.AF_INET, ("0.0.0.0", 0)
        )
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        near = (await booth.ask(lambda n: GetName(n, peer=False))).value
        far = (await booth.ask(lambda n: GetName(n, peer=True))).value
        assert far == peer.sockaddr
        assert parse_sockaddr(socket.AF_INET, near) == visitor.connection.getpeername()
        await finish(booth, visitor)

    play(scene)


def test_what_a_unix_socket_would_say_wrongly() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        for name, value in (
            (socket.SO_PROTOCOL, IPPROTO_TLS),
            (socket.SO_DOMAIN, socket.AF_INET),
            (socket.SO_ERROR, errno.ENOTCONN),
        ):
            assert await option(booth, name, socket.SOL_SOCKET, 4) == struct.pack("=i", value)

    play(scene)


def test_options_of_the_wire_reach_the_wire() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        for value in (0, 1, 0):
            assert await booth.set(socket.TCP_NODELAY, struct.pack("=i", value), socket.IPPROTO_TCP) == 0
            assert await option(booth, socket.TCP_NODELAY, socket.IPPROTO_TCP, 4) == struct.pack("=i", value)
        assert await booth.set(9999, struct.pack("=i", 1), socket.IPPROTO_TCP) == errno.ENOPROTOOPT

    play(scene)


@pytest.mark.parametrize("size", [0, 1, 4, 2**31 - 1, 2**32 - 1])
def test_any_room_for_an_option_of_the_wire(size: int) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        got = await option(booth, socket.TCP_CORK, socket.IPPROTO_TCP, size)
        assert got == bytes(min(size, 4))

    play(scene)


def test_a_refusal_of_the_boundary_is_remembered() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        assert (await booth.ask(lambda n: Refusal(n, errno.ENOENT, "no such file"))).errno == errno.ENOENT
        assert await text(booth) == "no such file"

    play(scene)


def in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("file")
    os.write(descriptor, content)
    return descriptor


def test_anchors_by_file(tmp_path: Path) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        assert (await booth.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == 0
        for opened, expected in (
            (in_memory(authority().anchors_pem), 0),
            (in_memory(b""), errno.EINVAL),
            (in_memory(authority().anchors_pem + bytes(MAX_FILE_BYTES)), errno.EINVAL),
            (os.open("/proc/self/status", os.O_RDONLY), errno.EINVAL),  # regular, but of a file system that may hang
            (os.open(tmp_path, os.O_RDONLY), errno.EINVAL),
        ):
            reply = await booth.ask(lambda n: SetOption(n, IPPROTO_TLS, 87, b"", by_file=True), [opened])
            os.close(opened)
            assert reply.errno == expected
        none = await booth.ask(lambda n: SetOption(n, IPPROTO_TLS, 87, b"", by_file=True))
        assert none.errno == errno.EINVAL

    play(scene)


def test_anchors_that_the_policy_does_not_honour() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        assert (await booth.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == 0
        assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, authority().anchors_pem) == errno.EPROTO
        assert "trust anchors" in await text(booth)

    play(scene, profile=Profile(honour_application_anchors=False))


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_NETLINK, 0, -1, 2**31 - 1])
def test_no_socket_of_another_family(family: int) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        reply = await booth.ask(lambda n: Hello(n, family, 1))
        assert reply.errno == errno.EAFNOSUPPORT

    play(scene)


def test_before_hello_there_is_no_socket() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        assert await booth.set(Opt.TLS_REMOTE_HOSTNAME, b"a\0") == errno.ENOTCONN
        assert await booth.connect(peer.sockaddr) == errno.ENOTCONN

    play(scene)


def test_a_second_hello_is_refused() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        assert (await booth.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == errno.EOPNOTSUPP

    play(scene)


def test_a_connect_without_a_descriptor_is_refused() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        reply = await booth.ask(lambda n: Connect(n, peer.sockaddr, blocking=True))
        assert reply.errno == errno.EOPNOTSUPP

    play(scene)


def test_who_asks_for_ever_and_reads_no_answer_is_heard_no_further() -> None:
    """Each connect holds a descriptor of the daemon's until it is answered."""

    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        before = len(open_descriptors())
        for number in range(1, 5000):
            try:
                send(booth.channel, Connect(number, b"", blocking=True), [booth.application.fileno()])
            except BlockingIOError:
                break
            await wait_all_tasks_blocked()
        assert number < 4999
        assert len(open_descriptors()) - before <= 20
        booth.hang_up()

    play(scene)


@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5))
@settings(deadline=None, max_examples=25)
def test_nonsense_on_the_channel_ends_the_session_at_worst(messages: list[bytes]) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        for message in messages:
            with contextlib.suppress(BrokenPipeError):
                booth.channel.send(message)
        await wait_all_tasks_blocked()

    play(scene)
