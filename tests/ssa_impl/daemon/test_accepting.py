"""Servers: only peers that were authenticated reach the application, and no peer delays another."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import struct
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control.channel import close_all
from ssa_impl.control.messages import AskEnd, Bind, Connect, Hello, Listen
from ssa_impl.daemon import relocation
from ssa_impl.daemon.mail import ALL_OTHERS, Post
from ssa_impl.daemon.post import deliver
from ssa_impl.policy.model import Profile
from ssa_impl.sockets.addresses import Address, build_sockaddr, parse_sockaddr
from tests.certificates import NAME
from tests.ssa_impl.credentials import Credential, anchors, issued
from tests.ssa_impl.daemon.lines import receive, receive_exactly, send_all
from tests.ssa_impl.daemon.sessions import (
    Accepted,
    Booth,
    Peer,
    Side,
    Visitor,
    Worker,
    call,
    dial,
    option,
    play,
    play_with_two,
    so_error,
    text,
)
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.tls.peers import client_context

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
ON = struct.pack("=i", 1)


async def equip(side: Side, *credentials: Credential, watches: bool = True, family: int = socket.AF_INET) -> None:
    """socket(), and certificates."""
    assert (await side.ask(lambda n: Hello(n, family, 1, watches))).errno == 0
    for credential in credentials or (issued(),):
        assert await side.set(Opt.TLS_CERTIFICATE_CHAIN, credential.chain) == 0
        assert await side.set(Opt.TLS_PRIVATE_KEY, credential.key) == 0


async def listening(side: Side, backlog: int = 8, host: str = "127.0.0.1") -> Address:
    """bind() and listen(); return the address."""
    address = (host, 0, 0, 0) if ":" in host else (host, 0)
    sockaddr = build_sockaddr(socket.AF_INET6 if ":" in host else socket.AF_INET, address)
    assert (await side.ask(lambda n: Bind(n, sockaddr))).errno == 0
    assert await side.listen(backlog) == 0
    return await side.name()


async def serving(side: Side, *credentials: Credential, backlog: int = 8, watches: bool = True) -> Address:
    """Do all that a server does before it accepts; return its address."""
    await equip(side, *credentials, watches=watches)
    return await listening(side, backlog)


async def talk(accepted: Accepted, caller: Visitor) -> None:
    """Exchange a word in each direction."""
    await send_all(accepted.application, b"word")
    assert await caller.hear(4) == b"word"
    await caller.say(b"answer")
    assert await receive_exactly(accepted.application, 6) == b"answer"


async def part(accepted: Accepted, caller: Visitor) -> None:
    """End in order on both sides."""
    accepted.application.close()
    while not caller.tls.closed:
        await caller.hear(1)
    caller.connection.close()
    accepted.close()


async def meet(side: Side, address: Address, context: ssl.SSLContext | None = None) -> tuple[Accepted, Visitor]:
    """Connect a client and accept it."""
    caller = await call(address, context)
    await caller.shake_hands()
    return await side.accept(), caller


# -- listen, accept


@VERSIONS
def test_accept_and_talk(version: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        accepted, caller = await meet(booth, address, client_context(version))
        assert parse_sockaddr(socket.AF_INET, accepted.sockaddr) == caller.connection.getsockname()
        assert await accepted.name() == address == caller.connection.getpeername()
        assert await accepted.name(peer=True) == caller.connection.getsockname()
        assert await text(accepted, Opt.TLS_HOSTNAME) == NAME
        assert await option(accepted, Opt.TLS_VERSION_CONN) == struct.pack("=i", {"1.2": 0x303, "1.3": 0x304}[version])
        assert await so_error(accepted) == 0
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene)


def test_over_ipv6() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth, family=socket.AF_INET6)
        address = await listening(booth, host="::1")
        accepted, caller = await meet(booth, address)
        assert parse_sockaddr(socket.AF_INET6, accepted.sockaddr) == caller.connection.getsockname()
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene)


def test_without_bind_the_kernel_chooses_the_port() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth)
        assert await booth.listen() == 0
        host, port = await booth.name()
        assert host == "0.0.0.0"
        await part(*await meet(booth, ("127.0.0.1", port)))

    play(scene)


def test_everything_is_released_when_it_is_over() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        accepted, caller = await meet(booth, address)
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene)  # whatever is made once is made now
    before = open_descriptors()
    play(scene)
    assert open_descriptors() == before


@VERSIONS
def test_the_listening_descriptor_is_readable_exactly_when_an_authenticated_peer_waits(version: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        caller = await call(address, client_context(version))
        await wait_all_tasks_blocked(0.05)
        assert not booth.has_peer()
        await caller.send_out()
        answer = await receive(caller.connection)
        await wait_all_tasks_blocked(0.05)
        assert not booth.has_peer()
        caller.tls.receive(answer)
        last = caller.tls.output()
        await send_all(caller.connection, last[:-1])
        await wait_all_tasks_blocked(0.05)
        assert not booth.has_peer()
        await send_all(caller.connection, last[-1:])
        accepted = await booth.accept()
        assert not booth.has_peer()
        await part(accepted, caller)

    play(scene)


def test_a_client_that_speaks_first_is_heard() -> None:
    """In TLS 1.3 it may do so in the same segment as the end of its handshake."""

    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        caller = await call(address, client_context("1.3"))
        await caller.send_out()
        while not caller.tls.ready:
            caller.tls.receive(await receive(caller.connection))
        caller.tls.write(b"GET /")
        await caller.send_out()
        accepted = await booth.accept()
        assert await receive_exactly(accepted.application, 5) == b"GET /"
        await part(accepted, caller)

    play(scene)


def test_an_accepted_socket_lives_without_its_listener() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        accepted, caller = await meet(booth, address)
        booth.close()
        await booth.ended.wait()
        await talk(accepted, caller)
        assert await text(accepted, Opt.TLS_CHOSEN_CIPHER)
        accepted.hang_up()  # and without its boundary
        await wait_all_tasks_blocked()
        await send_all(accepted.application, b"still here")
        assert await caller.hear(10) == b"still here"
        await part(accepted, caller)

    play(scene)


def test_truncation_is_a_reset_for_an_accepted_socket_and_for_no_other() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        first, victim = await meet(booth, address, client_context("1.2"))  # no ticket is left unread
        second, caller = await meet(booth, address)
        victim.connection.close()
        for _ in range(2):  # Keep, then Reset
            await first.listen_for_reset()
        with pytest.raises(ConnectionResetError):
            await receive(first.application)
        assert "close_notify" in await text(first)
        assert await so_error(first) == errno.ECONNRESET
        await talk(second, caller)
        first.close()
        await part(second, caller)

    play(scene)


# -- peers that do not behave


def test_a_stalled_peer_does_not_delay_another() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        silent = await dial(address)
        half = await call(address)
        await send_all(half.connection, half.tls.output()[:100])
        started = trio.current_time()
        for _ in range(3):
            accepted, caller = await meet(booth, address)
            await talk(accepted, caller)
            await part(accepted, caller)
        assert trio.current_time() - started < 10
        silent.close()
        half.connection.close()

    play(scene)


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 1000, b"\x16\x03\x01"], ids=["http", "ff", "cut"]
)
def test_a_hostile_peer_is_turned_away_and_hears_why(words: bytes) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        hostile = await dial(address)
        await send_all(hostile, words)
        hostile.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while await receive(hostile):
                pass
        hostile.close()
        await part(*await meet(booth, address))

    play(scene)


def test_a_silent_peer_has_some_seconds() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        silent = await dial(address)
        started = trio.current_time()
        assert await receive(silent) == b""
        assert 6 <= trio.current_time() - started < 10
        silent.close()
        await part(*await meet(booth, address))

    play(scene, profile=Profile(accept_timeout_s=7))


def test_the_oldest_of_too_many_handshakes_gives_way() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        silent = []
        for _ in range(3):
            silent.append(await dial(address))
            await wait_all_tasks_blocked(0.05)
        assert await receive(silent[0]) == b""
        for number in (1, 2):
            with pytest.raises(BlockingIOError):
                silent[number].recv(1)
        await part(*await meet(booth, address))
        assert await receive(silent[1]) == b""
        with pytest.raises(BlockingIOError):
            silent[2].recv(1)
        for connection in silent:
            connection.close()

    play(scene, profile=Profile(pending_handshakes=2))


def test_a_peer_that_goes_away_in_the_middle_makes_room_for_others() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        patient = await dial(address)
        await wait_all_tasks_blocked(0.05)
        for _ in range(5):
            (await dial(address)).close()
            await wait_all_tasks_blocked(0.05)
        with pytest.raises(BlockingIOError):  # it did not have to give way
            patient.recv(1)
        patient.close()

    play(scene, profile=Profile(pending_handshakes=2))


def test_peers_beyond_the_users_limit_are_turned_away() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        accepted, caller = await meet(booth, address)
        another = await call(address)
        with pytest.raises((EOFError, ConnectionResetError)):
            await another.shake_hands()
        another.connection.close()
        await talk(accepted, caller)
        await part(accepted, caller)
        await wait_all_tasks_blocked(0.05)
        await part(*await meet(booth, address))

    play(scene, profile=Profile(sockets_per_user=2))


def test_a_peer_counts_from_the_beginning_of_its_handshake() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        silent = await dial(address)
        await wait_all_tasks_blocked(0.05)
        another = await call(address)
        with pytest.raises((EOFError, ConnectionResetError)):
            await another.shake_hands()
        another.connection.close()
        silent.close()
        await wait_all_tasks_blocked(0.05)
        await part(*await meet(booth, address))

    play(scene, profile=Profile(sockets_per_user=2))


# -- the application's queue


async def turn_the_clock() -> None:
    """Who waits for room in the queue looks again after some milliseconds."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    await wait_all_tasks_blocked(0.02)
    clock.jump(0.1)
    await wait_all_tasks_blocked(0.02)


def test_a_full_queue_keeps_peers_waiting_and_loses_none() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth, backlog=1)
        callers = {}
        for _ in range(6):
            caller = await call(address)
            await caller.shake_hands()
            callers[caller.connection.getsockname()] = caller
            await wait_all_tasks_blocked(0.02)
        while callers:
            await turn_the_clock()
            assert booth.has_peer()
            accepted = await booth.accept()
            caller = callers.pop(await accepted.name(peer=True))
            await talk(accepted, caller)
            await part(accepted, caller)
        await turn_the_clock()
        assert not booth.has_peer()

    play(scene)


def test_the_kernel_holds_back_more_peers_than_may_wait() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth, backlog=0)
        early = []
        for _ in range(5):  # one in the queue, four that wait for it
            early.append(await call(address))
            await early[-1].shake_hands()
            await wait_all_tasks_blocked(0.02)
        late = [await call(address) for _ in range(3)]
        for caller in late:
            await caller.send_out()
        for _ in range(3):
            await turn_the_clock()
        for caller in late:
            with pytest.raises(BlockingIOError):  # connected, as TCP has it, and not answered
                caller.connection.recv(1)
        callers = {caller.connection.getsockname(): caller for caller in (*early, *late)}
        async with trio.open_nursery() as nursery:
            for caller in late:
                nursery.start_soon(caller.shake_hands)
            while callers:
                await turn_the_clock()
                while booth.has_peer():
                    accepted = await booth.accept()
                    caller = callers.pop(await accepted.name(peer=True))
                    await talk(accepted, caller)
                    await part(accepted, caller)

    play(scene, profile=Profile(pending_handshakes=4))


def test_a_crowd_of_peers_leaves_others_their_turn() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        address = await serving(booth)
        other = booth.worker.booth()
        await other.open()
        crowd = [socket.create_connection(address) for _ in range(100)]  # the daemon has had no turn yet
        number = other.start_connect(peer.sockaddr)
        taken_before = len(open_descriptors())
        connection = await peer.accept()
        assert len(open_descriptors()) - taken_before < 50
        for end in (*crowd, connection):
            end.close()
        assert (await other.reply_to(number)).errno

    play(scene)


def test_a_second_listen_is_for_the_same_descriptor_alone(tmp_path: Path) -> None:
    """Whoever connects to a listener sees who called listen(): the daemon lends its name to no other one."""

    async def scene(booth: Booth, _peer: Peer) -> None:
        await serving(booth)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "other"))
            assert (await booth.ask(lambda n: Listen(n, 1), [other.fileno()])).errno == errno.EINVAL
            assert not other.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)

    play(scene)


def test_a_second_listen_changes_the_length_of_the_queue() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth, backlog=0)
        callers = [await call(address) for _ in range(4)]
        for caller in callers:
            await caller.shake_hands()
        assert await booth.listen(8) == 0
        assert await booth.name() == address
        await turn_the_clock()
        for _ in callers:  # all are there at once
            assert booth.has_peer()
            (await booth.accept()).close()
        for caller in callers:
            caller.connection.close()

    play(scene)


def released(scene: object) -> None:
    play(scene)  # type: ignore[arg-type]  # whatever is made once is made now
    before = open_descriptors()
    play(scene)  # type: ignore[arg-type]
    assert open_descriptors() == before


@pytest.mark.parametrize("full", [True, False], ids=["full queue", "room"])
@pytest.mark.parametrize("closing", ["everything", "channel first", "descriptor first"])
def test_a_listener_that_is_closed_lets_go_of_all_that_were_on_their_way(full: bool, closing: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth, backlog=0 if full else 8)
        silent = await dial(address)
        callers = [await call(address) for _ in range(4)]
        for caller in callers:
            await caller.shake_hands()
        await wait_all_tasks_blocked(0.02)
        if closing == "channel first":
            booth.hang_up()
            await turn_the_clock()
            assert not booth.ended.is_set()
            booth.application.close()
        elif closing == "descriptor first":
            booth.application.close()
            await turn_the_clock()
            booth.hang_up()
        else:
            booth.close()
        await booth.ended.wait()
        for end in (silent, *(caller.connection for caller in callers)):
            with contextlib.suppress(ConnectionResetError):
                while await receive(end):
                    pass
            end.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        assert not list(booth.worker.services.runtime.glob(f"{os.getpid()}-*"))
        assert not booth.worker.services.acceptors

    released(scene)


def test_a_peer_that_leaves_while_it_waits_in_the_queue_is_accepted_and_at_its_end() -> None:
    """As with TCP."""

    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth)
        caller = await call(address, client_context("1.2"))
        await caller.shake_hands()
        await caller.say(b"bye")
        await caller.bid_farewell()
        caller.connection.close()
        accepted = await booth.accept()
        assert await receive_exactly(accepted.application, 100) == b"bye"
        accepted.close()

    released(scene)


# -- errors


@pytest.mark.parametrize(
    ("given", "reason"),
    [("nothing", "a server needs"), ("chain", "TLS_PRIVATE_KEY is not"), ("key", "TLS_CERTIFICATE_CHAIN is not")],
)
def test_listen_without_a_certificate_is_refused_and_can_be_mended(given: str, reason: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        assert (await booth.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == 0
        values = {Opt.TLS_CERTIFICATE_CHAIN: issued().chain, Opt.TLS_PRIVATE_KEY: issued().key}
        first = {"chain": Opt.TLS_CERTIFICATE_CHAIN, "key": Opt.TLS_PRIVATE_KEY}.get(given)
        if first is not None:
            assert await booth.set(first, values.pop(first)) == 0
        assert await booth.listen() == errno.EPROTO
        assert reason in await text(booth)
        for number, value in values.items():
            assert await booth.set(number, value) == 0
        await part(*await meet(booth, await listening(booth)))

    play(scene)


def test_a_port_that_is_taken_is_the_kernels_errno() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await equip(booth)
        assert (await booth.ask(lambda n: Bind(n, peer.sockaddr))).errno == errno.EADDRINUSE
        await part(*await meet(booth, await listening(booth)))

    play(scene)


def test_what_a_listener_cannot_do_any_more() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        address = await serving(booth)
        assert await booth.connect(peer.sockaddr) == errno.EISCONN
        assert (await booth.ask(lambda n: Bind(n, peer.sockaddr))).errno == errno.EINVAL
        assert await booth.set(Opt.TLS_ALPN, b"h2\0") == errno.EOPNOTSUPP
        assert (await booth.ask(lambda n: Listen(n, 1))).errno == errno.EOPNOTSUPP  # without its descriptor
        await part(*await meet(booth, address))

    play(scene)


def test_what_an_accepted_socket_cannot_do() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        accepted, caller = await meet(booth, await serving(booth))
        fd = accepted.application.fileno()
        assert (await accepted.ask(lambda n: Connect(n, peer.sockaddr, True), [fd])).errno == errno.EISCONN
        assert (await accepted.ask(lambda n: Listen(n, 1), [fd])).errno == errno.EOPNOTSUPP
        assert (await accepted.ask(lambda n: Bind(n, peer.sockaddr))).errno == errno.EINVAL
        assert await accepted.set(Opt.TLS_ALPN, b"h2\0") == errno.EOPNOTSUPP
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene)


def test_listen_after_connect_is_eopnotsupp() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        number = booth.start_connect(peer.sockaddr)
        visitor = await peer.shake_hands()
        assert (await booth.reply_to(number)).errno == 0
        assert await booth.listen() == errno.EOPNOTSUPP
        visitor.connection.close()

    play(scene)


# -- what is agreed


def test_clients_are_authenticated_before_the_application_hears_of_them() -> None:
    known = issued("client.test", deep=True, common_name="a client")

    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth)
        assert await booth.set(Opt.TLS_REQUEST_PEER_AUTH, ON) == 0
        assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, anchors()) == 0
        address = await listening(booth)
        for presenting in (None, issued("client.test", strange=True)):
            unknown = await call(address, client_context("1.3", presenting=presenting))
            with pytest.raises(ssl.SSLError, match="ALERT"):  # noqa: PT012
                await unknown.shake_hands()
                await unknown.hear(1)
            unknown.connection.close()
            assert not booth.has_peer()
        accepted, caller = await meet(booth, address, client_context("1.3", presenting=known))
        assert "CN=a client" in await text(accepted, Opt.TLS_PEER_IDENTITY)
        assert (await text(accepted, Opt.TLS_PEER_CERTIFICATE_CHAIN)).count("BEGIN CERTIFICATE") == 2
        await part(accepted, caller)

    play(scene)


def test_names_and_protocols_of_each_peer() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth, issued("a.test"), issued("b.test", is_rsa=True))
        assert await booth.set(Opt.TLS_ALPN, b"h2,http/1.1\0") == 0
        for name in (b"a.test\0", b"b.test\0"):
            assert await booth.set(Opt.TLS_HOSTNAME, name) == 0
        address = await listening(booth)
        for name, offered in (("a.test", "http/1.1"), ("b.test", "h2")):
            context = client_context()
            context.set_alpn_protocols([offered])
            caller = await call(address, context, name)
            await caller.shake_hands()
            accepted = await booth.accept()
            assert await text(accepted, Opt.TLS_HOSTNAME) == name
            assert await text(accepted, Opt.TLS_ALPN) == offered
            await part(accepted, caller)
        stranger = await call(address, None, NAME)
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            await stranger.shake_hands()
        stranger.connection.close()
        assert not booth.has_peer()

    play(scene)


# -- a boundary that lives in the application


def test_without_a_watching_boundary_nothing_is_said_unasked_and_the_end_is_asked_for() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        address = await serving(booth, watches=False)
        for orderly in (True, False):
            accepted, caller = await meet(booth, address)
            assert (await accepted.ask(AskEnd)).errno == 0
            if orderly:
                await caller.bid_farewell()
            caller.connection.close()
            assert await receive(accepted.application) == b""
            assert (await accepted.ask(AskEnd)).errno == (0 if orderly else errno.ECONNRESET)
            with pytest.raises(BlockingIOError):
                accepted.channel.recv(1)
            assert accepted._kept is None
            accepted.close()

    released(scene)


# -- several workers


def test_another_worker_takes_peers_until_the_listener_is_closed() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        booth = first.booth()
        await equip(booth)
        assert await booth.set(Opt.TLS_ALPN, b"h2\0") == 0
        address = await listening(booth)
        target, message, descriptors = await first.mail.receive()
        assert (target, message) == (ALL_OTHERS, Post.LISTENER)
        told = relocation.read(descriptors[0])
        assert (told.family, told.uid, told.watches) == (socket.AF_INET, os.getuid(), True)
        assert (IPPROTO_TLS, Opt.TLS_ALPN, b"h2\0") in told.options
        deliver(second.services, message, descriptors)
        await wait_all_tasks_blocked()
        numbers = set()
        for _ in range(40):
            accepted, caller = await meet(booth, address)
            numbers.add(second.services.home_of(struct.unpack("=Q", await option(accepted, Opt.TLS_ID))[0]))
            await talk(accepted, caller)
            await part(accepted, caller)
            if len(numbers) == 2:
                break
        assert second.services.acceptors
        booth.close()
        await booth.ended.wait()
        await wait_all_tasks_blocked()
        assert not second.services.acceptors
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    play_with_two(scene)


def test_with_resumption_all_connections_of_one_host_come_to_one_worker() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        booth = first.booth()
        await equip(booth)
        assert await booth.set(Opt.TLS_SESSION_REUSE, ON) == 0
        address = await listening(booth)
        deliver(second.services, *(await first.mail.receive())[1:])
        await wait_all_tasks_blocked()
        workers, used = (first, second), set()
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"):
            homes = set()
            for _ in range(3):
                caller = await call(address, source=host)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(forward, workers, nursery.cancel_scope, booth)
                    await caller.shake_hands()
                accepted = await booth.accept()
                homes.add(struct.unpack("=Q", await option(accepted, Opt.TLS_ID))[0] >> 48)
                await part(accepted, caller)
            assert len(homes) == 1
            used |= homes
        assert used == {0, 1}

    play_with_two(scene)


async def forward(workers: tuple[Worker, Worker], scope: trio.CancelScope, booth: Booth) -> None:
    """Be the parent until a peer is there."""
    while not booth.has_peer():
        for worker in workers:
            with contextlib.suppress(trio.WouldBlock):
                target, message, descriptors = worker.mail.receive_nowait()
                deliver(workers[target].services, message, descriptors)
        await trio.lowlevel.checkpoint()
    scope.cancel()


def test_a_peer_for_a_listener_that_is_gone_is_dropped() -> None:
    async def scene(first: Worker, _second: Worker) -> None:
        near, far = socket.socketpair()
        with far:
            deliver(first.services, Post.PEER + b"/nowhere", [near.detach()])
            far.setblocking(False)
            assert await receive(far) == b""

    play_with_two(scene)


def test_mail_that_nobody_reads_leaves_nothing_open() -> None:
    async def scene(first: Worker, _second: Worker) -> None:
        booth = first.booth()
        await serving(booth)
        close_all((await first.mail.receive())[2])

    play_with_two(scene)
    before = open_descriptors()
    play_with_two(scene)
    assert open_descriptors() == before
