"""The channel over a real SEQPACKET pair: messages, descriptors, ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ssa_impl.abi import MAX_VALUE_BYTES
from ssa_impl.control import channel
from ssa_impl.control.codec import MalformedMessage
from ssa_impl.control.daemon_channel import DaemonChannel
from ssa_impl.control.messages import Connect, GetName, Reply, SetOption
from ssa_impl.control.place import default_path
from tests.ssa_impl.outcomes import open_descriptors

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right:
        channel.prepare(left)
        channel.prepare(right)
        yield left, right


def test_largest_message_crosses_in_one_piece(pair: Pair) -> None:
    message = SetOption(1, 205, 87, os.urandom(MAX_VALUE_BYTES))
    channel.send(pair[0], message)
    assert channel.receive(pair[1]) == (message, [])


def test_messages_keep_their_borders(pair: Pair) -> None:
    for number in range(3):
        channel.send(pair[0], GetName(number, True))
    assert [channel.receive(pair[1]) for _ in range(3)] == [(GetName(n, True), []) for n in range(3)]


def test_a_message_does_not_change_when_the_next_arrives(pair: Pair) -> None:
    channel.send(pair[0], Reply(1, 0, b"first"))
    first = channel.receive(pair[1])
    channel.send(pair[0], Reply(2, 0, b"second"))
    channel.receive(pair[1])
    assert first == (Reply(1, 0, b"first"), [])


def test_descriptor_comes_along_and_is_closed_on_exec(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with file.open("rb") as opened:
        channel.send(pair[0], Connect(1, b"address", True), [opened.fileno()])
    received = channel.receive(pair[1])
    assert received is not None
    (descriptor,) = received[1]
    assert os.read(descriptor, 100) == b"content"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_descriptors_of_a_malformed_message_are_closed(pair: Pair) -> None:
    before = open_descriptors()
    socket.send_fds(pair[0], [b"nonsense"], [0, 1])
    with pytest.raises(MalformedMessage):
        channel.receive(pair[1])
    assert open_descriptors() == before


def test_more_descriptors_than_asked_for_leave_nothing_open(pair: Pair) -> None:
    before = open_descriptors()
    socket.send_fds(pair[0], [b"nonsense"], [0] * 20)
    with pytest.raises(MalformedMessage):
        channel.receive(pair[1])
    assert open_descriptors() == before


def test_end_is_none(pair: Pair) -> None:
    pair[0].close()
    assert channel.receive(pair[1]) is None


def test_nothing_there_would_block(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        channel.receive(pair[1])


def test_sending_to_nobody_is_an_error_not_a_signal(pair: Pair) -> None:
    pair[1].close()
    with pytest.raises(BrokenPipeError):
        channel.send(pair[0], GetName(1, True))


def test_dialling_nobody(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        channel.dial(tmp_path / "nobody")
    assert open_descriptors() == before


async def _serve_until_end(end: socket.socket, answers: int) -> list[object]:
    daemon = DaemonChannel(end)
    seen: list[object] = []
    while (received := await daemon.receive()) is not None:
        seen.append(received[0])
        for number in range(answers):
            await daemon.send(Reply(number, 0, bytes(1000)))
    daemon.close()
    return seen


def test_daemon_waits_for_messages_and_for_a_slow_reader(pair: Pair) -> None:
    count = 2000  # more replies than any socket buffer holds

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def daemon() -> None:
                assert await _serve_until_end(pair[1].dup(), count) == [GetName(1, False)]

            nursery.start_soon(daemon)
            await trio.testing.wait_all_tasks_blocked()
            channel.send(pair[0], GetName(1, False))
            await trio.testing.wait_all_tasks_blocked()  # the daemon is stuck in the middle of its replies
            for number in range(count):
                await trio.lowlevel.wait_readable(pair[0])
                assert channel.receive(pair[0]) == (Reply(number, 0, bytes(1000)), [])
            pair[0].close()

    trio.run(main)


def test_daemon_does_not_mind_a_boundary_that_is_gone(pair: Pair) -> None:
    async def main() -> None:
        daemon = DaemonChannel(pair[1].dup())
        pair[0].close()
        await daemon.send(Reply(1, 0))
        assert await daemon.receive() is None
        daemon.close()

    trio.run(main)


def test_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSAD_SOCKET", "/somewhere/else")
    assert default_path() == Path("/somewhere/else")
    monkeypatch.delenv("SSAD_SOCKET")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_path() == Path("/run/user/1000/ssad/control.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_path() == Path("/run/ssad/control.sock")
