"""TLS_CONTEXT: what joining another socket's context brings, here and in another worker; and claiming a socket."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control.messages import Bind, Claim, Connect, Hello, SetOption
from ssa_impl.daemon import relocation
from ssa_impl.daemon.mail import Post
from ssa_impl.daemon.post import deliver
from ssa_impl.daemon.sharing import cache_scope
from ssa_impl.policy.model import Profile
from ssa_impl.sockets.addresses import build_sockaddr, parse_sockaddr
from tests.certificates import NAME, authority
from tests.ssa_impl.daemon.lines import receive_exactly, send_all
from tests.ssa_impl.daemon.sessions import (
    NUMBER,
    Booth,
    Peer,
    Side,
    Visitor,
    Worker,
    option,
    play,
    play_with_two,
    text,
)
from tests.ssa_impl.outcomes import open_descriptors
from tests.ssa_impl.tls.peers import server_context

ON = struct.pack("=i", 1)
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


async def handle(side: Side) -> bytes:
    return await option(side, Opt.TLS_CONTEXT)


async def hello(side: Side) -> None:
    assert (await side.ask(lambda n: Hello(n, socket.AF_INET, os.getpid()))).errno == 0


async def visit(side: Side, peer: Peer) -> Visitor:
    """Connect, and exchange a word, with which the tickets of TLS 1.3 come."""
    number = side.post(lambda n: Connect(n, peer.sockaddr, True), [side.application.fileno()])
    visitor = await peer.shake_hands()
    assert (await side.reply_to(number)).errno == 0
    side.application.setblocking(False)
    await visitor.say(b"word")
    assert await receive_exactly(side.application, 4) == b"word"
    return visitor


async def part(side: Side, visitor: Visitor) -> None:
    """End in order, and let the daemon keep what can be resumed."""
    side.application.close()
    assert await visitor.hear(1) == b""
    await visitor.bid_farewell()
    visitor.connection.close()
    await wait_all_tasks_blocked(0.02)


# -- in one worker


def test_who_joins_a_context_hears_all_that_its_owner_was_told() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        assert await booth.set(Opt.TLS_ALPN, b"h2\0") == 0
        assert await booth.set(socket.TCP_NODELAY, struct.pack("=i", 0), socket.IPPROTO_TCP) == 0
        other = booth.worker.booth()
        await hello(other)
        assert await other.set(Opt.TLS_CONTEXT, await handle(booth)) == 0
        assert await handle(other) == await handle(booth) != await option(other, Opt.TLS_ID)
        assert await text(other, Opt.TLS_REMOTE_HOSTNAME) == NAME
        assert await text(other, Opt.TLS_ALPN) == "h2"
        assert await option(other, socket.TCP_NODELAY, socket.IPPROTO_TCP, 4) == struct.pack("=i", 0)
        await part(other, await visit(other, peer))  # with the anchors too

    play(scene)


def test_each_goes_its_own_way_afterwards() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        joined = await handle(booth)
        assert await booth.set(Opt.TLS_ALPN, b"later\0") == 0
        other = booth.worker.booth()
        await hello(other)
        assert await other.set(Opt.TLS_CONTEXT, joined) == 0
        assert await other.set(Opt.TLS_REMOTE_HOSTNAME, b"other.test\0") == 0
        assert await text(booth, Opt.TLS_REMOTE_HOSTNAME) == NAME
        assert await text(booth, Opt.TLS_ALPN) == "later"

    play(scene)


def test_a_context_outlives_its_socket() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        joined = await handle(booth)
        booth.close()
        await booth.ended.wait()
        other = booth.worker.booth()
        await hello(other)
        assert await other.set(Opt.TLS_CONTEXT, joined) == 0
        await part(other, await visit(other, peer))

    play(scene)


@pytest.mark.parametrize("case", ["nobody", "not read", "another user", "no worker", "short"])
def test_contexts_that_cannot_be_joined(case: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        value = {"nobody": struct.pack("=Q", 12345), "no worker": struct.pack("=Q", 2**64 - 1), "short": b"\1"}.get(
            case
        )
        if case == "not read":
            value = await option(booth, Opt.TLS_ID)
        elif case == "another user":
            booth.session.uid += 1
            value = await handle(booth)
        other = booth.worker.booth()
        await hello(other)
        assert value is not None
        assert await other.set(Opt.TLS_CONTEXT, value) == errno.EINVAL
        assert await text(other)
        assert await handle(other) == await option(other, Opt.TLS_ID)

    play(scene)


def test_no_context_is_joined_once_connected() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        other = booth.worker.booth()
        await other.open()
        visitor = await visit(other, peer)
        assert await other.set(Opt.TLS_CONTEXT, await handle(booth)) == errno.EOPNOTSUPP
        await part(other, visitor)

    play(scene)


# -- sessions


@VERSIONS
@pytest.mark.parametrize("reuse", [True, False])
def test_a_program_resumes_its_sessions_when_it_asks_to(version: str, reuse: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        resumed = []
        for side in (booth, booth.worker.booth(), booth.worker.booth()):
            await side.open()
            if reuse:
                assert await side.set(Opt.TLS_SESSION_REUSE, ON) == 0
            visitor = await visit(side, peer)
            resumed.append(struct.unpack("=i", await option(side, Opt.TLS_RESUMED_SESSION))[0])
            assert visitor.tls.tls.session_reused is bool(resumed[-1])
            await part(side, visitor)
        assert resumed == ([0, 1, 1] if reuse else [0, 0, 0])

    play(scene, context=server_context(version))


@VERSIONS
def test_a_session_can_be_resumed_while_its_connection_lasts(version: str) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        other = booth.worker.booth()
        for side in (booth, other):
            await side.open()
            assert await side.set(Opt.TLS_SESSION_REUSE, ON) == 0
        first = await visit(booth, peer)
        second = await visit(other, peer)
        assert await option(other, Opt.TLS_RESUMED_SESSION) == ON
        await part(booth, first)
        await part(other, second)

    play(scene, context=server_context(version))


def test_only_those_of_a_context_resume_its_sessions() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        assert await booth.set(Opt.TLS_SESSION_REUSE, ON) == 0
        joined = await handle(booth)
        await part(booth, await visit(booth, peer))
        stranger, member = booth.worker.booth(), booth.worker.booth()
        await stranger.open()
        assert await stranger.set(Opt.TLS_SESSION_REUSE, ON) == 0
        await hello(member)
        assert await member.set(Opt.TLS_CONTEXT, joined) == 0
        for side, resumed in ((stranger, 0), (member, 1)):
            visitor = await visit(side, peer)
            assert await option(side, Opt.TLS_RESUMED_SESSION) == struct.pack("=i", resumed)
            await part(side, visitor)

    play(scene, context=server_context())


# -- in another worker


def test_a_socket_moves_to_the_worker_that_knows_the_context() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        peer = Peer()
        owner = second.booth()
        await owner.open()
        assert await owner.set(Opt.TLS_ALPN, b"h2\0") == 0
        joined = await handle(owner)
        mover = first.booth()
        await hello(mover)
        bound = build_sockaddr(socket.AF_INET, ("127.0.0.1", 0))
        assert (await mover.ask(lambda n: Bind(n, bound))).errno == 0
        port = (await mover.name())[1]
        assert await mover.set(Opt.TLS_VERSION_MIN, struct.pack("=i", 0x0304)) == 0
        number = mover.post(lambda n: SetOption(n, IPPROTO_TLS, Opt.TLS_CONTEXT, joined))
        at_once = mover.post(lambda n: SetOption(n, IPPROTO_TLS, Opt.TLS_ALPN, b"later\0"))
        target, message, descriptors = await first.mail.receive()
        assert (target, message) == (1, Post.MOVED)
        told = relocation.read(descriptors[0])
        assert told.options[-1] == (IPPROTO_TLS, Opt.TLS_CONTEXT, joined)
        assert told.request == number
        deliver(second.services, message, descriptors)
        assert (await mover.reply_to(number)).errno == 0
        assert (await mover.reply_to(at_once)).errno == 0
        await mover.ended.wait()  # in the first worker
        assert await handle(mover) == joined
        assert await text(mover, Opt.TLS_ALPN) == "later"
        assert await option(mover, Opt.TLS_VERSION_MIN) == struct.pack("=i", 0x0304)
        assert second.services.home_of(struct.unpack("=Q", await option(mover, Opt.TLS_ID))[0]) == 1
        assert (await mover.name())[1] == port
        visitor = await visit(mover, peer)
        assert visitor.connection.getpeername()[1] == port
        await send_all(mover.application, b"moved")
        assert await visitor.hear(5) == b"moved"
        await part(mover, visitor)
        peer.close()

    play_with_two(scene)


def test_a_socket_that_has_moved_is_told_when_the_context_is_not_its_own() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        owner = second.booth()
        await owner.open()
        owner.session.uid += 1
        joined = await handle(owner)
        mover = first.booth()
        await mover.open()
        number = mover.post(lambda n: SetOption(n, IPPROTO_TLS, Opt.TLS_CONTEXT, joined))
        deliver(second.services, *(await first.mail.receive())[1:])
        assert (await mover.reply_to(number)).errno == errno.EINVAL
        assert "no context of yours" in await text(mover)
        assert await text(mover, Opt.TLS_REMOTE_HOSTNAME) == NAME

    play_with_two(scene)


def test_moving_leaves_nothing_behind() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        owner, mover = second.booth(), first.booth()
        await owner.open()
        await mover.open()
        joined = await handle(owner)
        number = mover.post(lambda n: SetOption(n, IPPROTO_TLS, Opt.TLS_CONTEXT, joined))
        deliver(second.services, *(await first.mail.receive())[1:])
        assert (await mover.reply_to(number)).errno == 0
        await mover.ended.wait()
        assert not first.services.ledger.own(os.getuid())
        assert second.services.ledger.own(os.getuid()) == 2
        mover.close()
        owner.close()
        await owner.ended.wait()
        await wait_all_tasks_blocked(0.02)
        assert not second.services.ledger.own(os.getuid())

    play_with_two(scene)
    before = open_descriptors()
    play_with_two(scene)
    assert open_descriptors() == before


# -- claims


async def known(side: Side) -> None:
    """Open a socket as a boundary does that lives in the application."""
    reply = await side.ask(lambda n: Hello(n, socket.AF_INET, 1, watches=False), [side.application.fileno()])
    assert reply.errno == 0


def test_another_process_claims_a_socket_by_its_descriptor() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await known(booth)
        assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, authority().anchors_pem) == 0
        other = booth.worker.side()
        assert (await other.ask(Claim, [booth.application.fileno()])).errno == 0
        assert await other.set(Opt.TLS_REMOTE_HOSTNAME, NAME.encode() + b"\0") == 0
        assert await text(booth, Opt.TLS_REMOTE_HOSTNAME) == NAME
        booth.hang_up()  # the first process ends: the socket lives on
        other.application.close()
        other.application = booth.application
        visitor = await visit(other, peer)
        assert parse_sockaddr(socket.AF_INET, peer.sockaddr) == await other.name(peer=True)
        await part(other, visitor)

    play(scene)


def test_a_socket_that_is_not_connected_ends_with_its_last_channel() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await known(booth)
        other = booth.worker.side()
        assert (await other.ask(Claim, [booth.application.fileno()])).errno == 0
        booth.hang_up()
        await wait_all_tasks_blocked(0.02)
        assert not booth.ended.is_set()
        other.hang_up()
        await booth.ended.wait()
        late = booth.worker.side()
        assert (await late.ask(Claim, [booth.application.fileno()])).errno == errno.ENOTSOCK

    play(scene)


@pytest.mark.parametrize("case", ["plain", "another user", "not a socket"])
def test_what_cannot_be_claimed(case: str) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        booth.session.uid += case == "another user"
        await known(booth)
        other = booth.worker.side()
        number = {"plain": other.application.fileno(), "not a socket": 0}.get(case, booth.application.fileno())
        assert (await other.ask(Claim, [number])).errno == errno.ENOTSOCK
        assert other.channel.recv(1) == b""

    play(scene)


def test_a_claim_without_a_descriptor_is_no_claim() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        other = booth.worker.side()
        with pytest.raises(EOFError):
            await other.ask(Claim)

    play(scene)


@pytest.mark.parametrize("owner", [0, 1, None])
@pytest.mark.parametrize("asked", [0, 1])
def test_a_claim_goes_from_worker_to_worker(owner: int | None, asked: int) -> None:
    async def scene(first: Worker, second: Worker) -> None:
        workers = (first, second)
        booth = workers[owner or 0].booth()
        if owner is not None:
            await known(booth)
        other = workers[asked].side()
        number = other.post(Claim, [booth.application.fileno()])
        if owner != asked:
            target, message, descriptors = await workers[asked].mail.receive()
            assert target == 1 - asked
            deliver(workers[target].services, message, descriptors)
        with trio.fail_after(10):
            assert (await other.reply_to(number)).errno == (errno.ENOTSOCK if owner is None else 0)
        if owner is not None:
            assert await option(other, Opt.TLS_ID) == await option(booth, Opt.TLS_ID)
        other.close()

    play_with_two(scene)
    before = open_descriptors()
    play_with_two(scene)
    assert open_descriptors() == before


def test_a_socket_that_has_moved_can_be_claimed_where_it_is_now() -> None:
    async def scene(first: Worker, second: Worker) -> None:
        owner, mover = second.booth(), first.booth()
        await known(owner)
        await known(mover)
        joined = await handle(owner)
        number = mover.post(lambda n: SetOption(n, IPPROTO_TLS, Opt.TLS_CONTEXT, joined))
        deliver(second.services, *(await first.mail.receive())[1:])
        assert (await mover.reply_to(number)).errno == 0
        await mover.ended.wait()
        assert not first.services.by_inode
        other = second.side()
        assert (await other.ask(Claim, [mover.application.fileno()])).errno == 0
        assert await option(other, Opt.TLS_ID) == await option(mover, Opt.TLS_ID)

    play_with_two(scene)


def test_an_accepted_socket_can_be_claimed_once_its_descriptor_was_shown() -> None:
    from tests.ssa_impl.daemon.test_accepting import meet, serving, talk
    from tests.ssa_impl.daemon.test_accepting import part as leave

    async def scene(booth: Booth, _peer: Peer) -> None:
        accepted, caller = await meet(booth, await serving(booth, watches=False))
        other = booth.worker.side()
        assert (await other.ask(Claim, [accepted.application.fileno()])).errno == errno.ENOTSOCK
        await known(accepted)
        other = booth.worker.side()
        assert (await other.ask(Claim, [accepted.application.fileno()])).errno == 0
        assert await option(other, Opt.TLS_ID) == await option(accepted, Opt.TLS_ID)
        await talk(accepted, caller)
        await leave(accepted, caller)

    play(scene)


def test_the_sessions_of_a_context_are_not_those_of_the_user_with_its_number() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await hello(booth)
        assert int.from_bytes(await handle(booth), "little") == NUMBER
        alone = booth.worker.booth()
        alone.session.uid = NUMBER
        alone.session.socket.profile = Profile(session_scope="user")
        assert await cache_scope(alone.session) != await cache_scope(booth.session)

    play(scene)
