"""The relay as dialogues: data, back-pressure, and every way in which it ends.  The clock jumps; nothing sleeps."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import ssl
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ssa_impl.daemon.relay import Wire
from ssa_impl.errors import NetworkError, PeerError, TruncationError
from tests.ssa_impl.daemon.lines import Line, play, push, receive, receive_exactly, send_all, within
from tests.ssa_impl.tls.peers import server_context

VERSIONS = pytest.mark.parametrize("context", [server_context("1.2"), server_context("1.3")], ids=["1.2", "1.3"])
BUFFERS_BYTES = 4_000_000
"""more than what the kernel's buffers on the way and one buffer of the daemon in each direction hold"""


@VERSIONS
def test_words_both_ways(context: ssl.SSLContext) -> None:
    async def scene(line: Line) -> None:
        await send_all(line.application, b"question")
        assert await line.hear(8) == b"question"
        await line.say(b"answer")
        assert await receive_exactly(line.application, 6) == b"answer"

    play(scene, context=context)


@VERSIONS
def test_megabytes_both_ways_at_once(context: ssl.SSLContext) -> None:
    down, up = os.urandom(5_000_000), os.urandom(5_000_000)

    async def scene(line: Line) -> None:
        heard: list[bytes] = []

        async def peer_hears() -> None:
            heard.append(await line.hear(len(up)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer_hears)
            nursery.start_soon(send_all, line.application, up)
            nursery.start_soon(line.say, down)
            got = await receive_exactly(line.application, len(down))
        assert hashlib.sha256(got).digest() == hashlib.sha256(down).digest()
        assert hashlib.sha256(heard[0]).digest() == hashlib.sha256(up).digest()

    play(scene, context=context, tcp=True)


def test_words_that_came_with_the_handshake_are_not_forgotten() -> None:
    """A server that speaks first may do so in the same segment as its Finished."""

    clock = trio.testing.MockClock(autojump_threshold=0.02)

    async def main() -> None:
        line = Line(server_context("1.2"), socket.socketpair(), clock)
        line.peer.write(b"220 ready")
        line.engine.receive(line.peer.output())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.run)
            with within(60):
                assert await receive_exactly(line.application, 9) == b"220 ready"
            nursery.cancel_scope.cancel()
        line.close()

    trio.run(main, clock=clock)


# -- back-pressure


def test_an_application_that_does_not_read_stops_the_peer() -> None:
    block = os.urandom(65_536)

    async def scene(line: Line) -> None:
        sent = 0
        while True:  # until nothing moves any more
            line.peer.write(block)
            rest = line.peer.output()
            while rest and (taken := push(line.far, rest)):
                rest = rest[taken:]
                await wait_all_tasks_blocked()
            sent += len(block)
            assert sent < BUFFERS_BYTES
            if rest:
                break
        async with trio.open_nursery() as nursery:  # and once it reads, everything arrives
            nursery.start_soon(send_all, line.far, rest)
            assert await receive_exactly(line.application, sent) == block * (sent // len(block))

    play(scene)


def test_a_peer_that_does_not_read_stops_the_application() -> None:
    block = os.urandom(65_536)

    async def scene(line: Line) -> None:
        data = bytearray()
        while taken := push(line.application, block):
            data += block[:taken]
            assert len(data) < BUFFERS_BYTES
            await wait_all_tasks_blocked()
        assert await line.hear(len(data)) == data

    play(scene)


def test_one_direction_does_not_wait_for_the_other() -> None:
    async def scene(line: Line) -> None:
        while push(line.application, bytes(65_536)):  # the peer does not read
            await wait_all_tasks_blocked()
        await line.say(b"listen to me")
        assert await receive_exactly(line.application, 12) == b"listen to me"

    play(scene)


# -- ends in order


@VERSIONS
def test_the_applications_end_becomes_close_notify_then_fin(context: ssl.SSLContext) -> None:
    async def scene(line: Line) -> None:
        await send_all(line.application, b"that is all")
        line.application.shutdown(socket.SHUT_WR)
        assert await line.hear(100) == b"that is all"
        assert line.peer.closed
        assert await receive(line.far) == b""

    play(scene, context=context, tcp=True)


@VERSIONS
def test_after_its_end_the_application_still_hears_the_answer(context: ssl.SSLContext) -> None:
    answer = os.urandom(2_000_000)

    async def scene(line: Line) -> None:
        line.application.shutdown(socket.SHUT_WR)
        assert await line.hear(1) == b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line.say, answer)
            assert await receive_exactly(line.application, len(answer)) == answer
        await line.bid_farewell()
        assert await receive(line.application) == b""
        line.far.close()
        with within(1):
            await line.ended.wait()

    assert play(scene, context=server_context("1.3")).failure is None


def test_the_peers_end_is_the_applications_end_of_file_and_it_may_still_write() -> None:
    async def scene(line: Line) -> None:
        await line.say(b"bye")
        await line.bid_farewell()
        assert await receive_exactly(line.application, 10) == b"bye"
        await send_all(line.application, b"one more thing")
        ciphertext = await receive(line.far)
        assert len(ciphertext) > 14
        line.application.close()
        while await receive(line.far):
            pass
        with within(1):
            await line.ended.wait()

    assert play(scene).failure is None


def test_close_delivers_everything_then_close_notify_then_fin() -> None:
    data = os.urandom(150_000)

    async def scene(line: Line) -> None:
        await send_all(line.application, data)
        line.application.close()
        assert await line.hear(len(data) + 1) == data
        assert line.peer.closed
        assert await receive(line.far) == b""

    play(scene, tcp=True)


def test_close_with_unread_data_still_delivers_the_last_words() -> None:
    data = os.urandom(150_000)

    async def scene(line: Line) -> None:
        await line.say(b"never read")
        await wait_all_tasks_blocked()
        await send_all(line.application, data)
        line.application.close()
        assert await line.hear(len(data) + 1) == data
        assert line.peer.closed
        assert await receive(line.far) == b""

    play(scene, tcp=True)


def test_close_in_the_middle_of_a_download_ends_the_connection_although_the_peer_goes_on() -> None:
    async def scene(line: Line) -> None:
        async def talk() -> None:
            with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
                while True:
                    await line.say(bytes(65_536))
                    line.clock.jump(0.1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk)
            await receive_exactly(line.application, 100_000)
            line.application.close()
            with within(60):
                await line.ended.wait()
            line.outer.close()

    assert play(scene, tcp=True).failure is None


def test_close_against_a_silent_peer_does_not_last_for_ever() -> None:
    async def scene(line: Line) -> None:
        line.application.close()
        assert await line.hear(1) == b""
        with within(60):
            await line.ended.wait()

    assert play(scene).failure is None


def test_an_application_that_only_stops_reading_may_write_for_as_long_as_it_likes() -> None:
    async def scene(line: Line) -> None:
        line.application.shutdown(socket.SHUT_RD)
        await line.say(b"nobody listens")
        await wait_all_tasks_blocked()
        for _ in range(10):
            await trio.sleep(60)
            await send_all(line.application, b"x")
            assert await line.hear(1) == b"x"
        assert not line.ended.is_set()

    play(scene)


# -- ends that are failures


@VERSIONS
def test_truncation_is_told_after_what_did_arrive(context: ssl.SSLContext) -> None:
    async def scene(line: Line) -> None:
        await line.say(b"half")
        line.far.close()
        assert await receive_exactly(line.application, 4) == b"half"
        await line.ended.wait()

    assert isinstance(play(scene, context=context).failure, TruncationError)


def test_a_reset_is_the_kernels_errno() -> None:
    async def scene(line: Line) -> None:
        line.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.far.close()
        await line.ended.wait()

    failure = play(scene, tcp=True).failure
    assert isinstance(failure, NetworkError)
    assert failure.errno == errno.ECONNRESET


def test_garbage_is_the_peers_fault_and_it_is_told_so() -> None:
    async def scene(line: Line) -> None:
        await send_all(line.far, b"\xff" * 100)
        await line.ended.wait()
        line.peer.receive(await receive(line.far))
        with pytest.raises(ssl.SSLError, match="ALERT"):
            line.peer.read()

    assert isinstance(play(scene).failure, PeerError)


def test_writing_to_a_peer_that_has_gone_ends_the_relay() -> None:
    async def scene(line: Line) -> None:
        await line.bid_farewell()
        assert await receive(line.application) == b""
        line.far.close()
        await send_all(line.application, b"hello?")
        with within(1):
            await line.ended.wait()

    failure = play(scene).failure
    assert isinstance(failure, NetworkError)
    assert failure.errno == errno.EPIPE


# -- stalls


def fill(line: Line) -> int:
    """Let the application write until nobody takes anything any more."""
    return sum(iter(lambda: push(line.application, bytes(65_536)), 0))


def test_nobody_waits_for_ever_for_a_peer_that_does_not_read_once_the_application_is_gone() -> None:
    async def scene(line: Line) -> None:
        while fill(line):
            await wait_all_tasks_blocked()
        line.application.close()
        with within(300):
            await line.ended.wait()

    failure = play(scene).failure
    assert failure is not None
    assert failure.errno == errno.ETIMEDOUT


def test_a_close_notify_that_does_not_fit_does_not_wait_for_ever_either() -> None:
    async def scene(line: Line) -> None:
        while push(line.outer, bytes(65_536)):
            pass
        line.application.close()
        with within(300):
            await line.ended.wait()

    failure = play(scene).failure
    assert failure is not None
    assert failure.errno == errno.ETIMEDOUT


def test_a_stalled_peer_is_waited_for_while_the_application_is_there() -> None:
    async def scene(line: Line) -> None:
        sent = 0
        while taken := fill(line):
            sent += taken
            await wait_all_tasks_blocked()
        await trio.sleep(600)
        assert not line.ended.is_set()
        assert len(await line.hear(sent)) == sent

    play(scene)


def test_a_slow_peer_gets_the_last_words_of_an_application_that_is_gone() -> None:
    async def scene(line: Line) -> None:
        sent = 0
        while taken := fill(line):
            sent += taken
            await wait_all_tasks_blocked()
        line.application.close()
        heard = 0
        while not line.peer.closed:  # a few kilobytes each 20 s: slow, and alive
            await trio.sleep(20)
            ciphertext = await receive(line.far, 50_000)
            assert ciphertext, "the wire ended without close_notify"
            line.peer.receive(ciphertext)
            heard += len(line.peer.read())
        assert heard == sent

    assert play(scene).failure is None


class _Pieces:
    """An engine that has so many pieces of ciphertext to send."""

    def __init__(self, count: int) -> None:
        self.left = count

    def output(self) -> bytes:
        if not self.left:
            return b""
        self.left -= 1
        return bytes([self.left]) * 200_000


def test_senders_that_wait_for_each_other_all_have_their_turn() -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            far.setblocking(False)
            pieces = _Pieces(3)
            wire = Wire(near, pieces)  # type: ignore[arg-type]  # it needs no more of an engine here
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wire.flush)
                await wait_all_tasks_blocked()
                arrived = await receive_exactly(far, 600_000)
            assert arrived == b"".join(bytes([number]) * 200_000 for number in (2, 1, 0))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.05))
