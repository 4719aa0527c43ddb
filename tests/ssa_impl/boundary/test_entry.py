"""What the supervisor keeps for one socket: questions, answers in any order, and a daemon that goes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ssa_impl.boundary.seccomp.entry import Entry
from ssa_impl.control import channel
from ssa_impl.control.messages import GetName, Message, Reply


@pytest.fixture
def pair() -> Iterator[tuple[Entry, socket.socket]]:
    ours, daemon = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, daemon:
        channel.prepare(ours)
        channel.prepare(daemon)
        yield Entry(ours), daemon


def heard(daemon: socket.socket) -> Message:
    received = channel.receive(daemon)
    assert received is not None
    return received[0]


def test_replies_find_their_question_in_any_order(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    answers: list[tuple[str, Reply | None]] = []
    for name in ("first", "second"):
        entry.ask(lambda number: GetName(number, False), lambda reply, name=name: answers.append((name, reply)))  # type: ignore[misc]
    numbers = [heard(daemon).request, heard(daemon).request]
    for number in reversed(numbers):
        channel.send(daemon, Reply(number, 0))
    assert entry.take_replies()
    assert answers == [("second", Reply(numbers[1], 0)), ("first", Reply(numbers[0], 0))]


def test_a_reply_to_nothing_is_ignored(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    channel.send(daemon, Reply(77, 0))
    assert entry.take_replies()


def test_a_reply_is_heard_once(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    answers: list[Reply | None] = []
    entry.ask(lambda number: GetName(number, False), answers.append)
    number = heard(daemon).request
    channel.send(daemon, Reply(number, 0))
    channel.send(daemon, Reply(number, 1))
    entry.take_replies()
    assert answers == [Reply(number, 0)]


def test_daemon_gone_answers_everybody(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    answers: list[Reply | None] = []
    for _ in range(3):
        entry.ask(lambda number: GetName(number, False), answers.append)
    daemon.close()
    assert not entry.take_replies()
    assert answers == [None] * 3
    assert entry.channel is None


def test_asking_a_daemon_that_is_gone_answers_at_once(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    daemon.close()
    answers: list[Reply | None] = []
    entry.ask(lambda number: GetName(number, False), answers.append)
    entry.hang_up()
    entry.ask(lambda number: GetName(number, False), answers.append)
    assert answers == [None, None]
    assert not entry.take_replies()


def test_an_answer_may_end_the_entry(pair: tuple[Entry, socket.socket]) -> None:
    """As it does when the caller of socket() was interrupted before its descriptor came."""
    entry, daemon = pair
    entry.ask(lambda number: GetName(number, False), lambda _: entry.hang_up())
    channel.send(daemon, Reply(heard(daemon).request, 0))
    assert not entry.take_replies()
    assert entry.channel is None


def test_nonsense_from_the_daemon_counts_as_its_end(pair: tuple[Entry, socket.socket]) -> None:
    entry, daemon = pair
    answers: list[Reply | None] = []
    entry.ask(lambda number: GetName(number, False), answers.append)
    daemon.send(b"nonsense")
    assert not entry.take_replies()
    assert answers == [None]
