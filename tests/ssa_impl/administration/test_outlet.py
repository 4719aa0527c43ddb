"""The log's way to its reader: nobody is waited for, nothing is lost that there is room for, the rest is counted."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import socket
import tty
from collections.abc import Callable, Iterator

import pytest

from ssa_impl.administration import outlet
from ssa_impl.administration.logs import Format, LineFormatter
from ssa_impl.administration.outlet import Outlet

Ends = tuple[int, int]
"""where the log goes, and where it is read"""
Make = Callable[..., Outlet]


@pytest.fixture(params=["pipe", "socket", "terminal"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    if request.param == "pipe":
        reading, writing = os.pipe()
    elif request.param == "socket":
        reading, writing = (end.detach() for end in socket.socketpair())
    else:
        reading, writing = pty.openpty()
        tty.setraw(writing)
    yield writing, reading
    os.close(writing)
    os.close(reading)


@pytest.fixture
def make() -> Iterator[Make]:
    """Outlets that are closed at the end."""
    handlers: list[Outlet] = []

    def make_one(descriptor: int, kept_bytes: int = outlet.KEPT_BYTES) -> Outlet:
        handlers.append(Outlet(descriptor, kept_bytes=kept_bytes))
        handlers[-1].setFormatter(LineFormatter(Format.JSON, "ssad"))
        return handlers[-1]

    yield make_one
    for handler in handlers:
        handler.close()


def say(handler: Outlet, *numbers: int) -> None:
    for number in numbers:
        handler.handle(logging.makeLogRecord({"msg": f"{number}", "levelname": "INFO"}))


def read(handler: Outlet, reading: int, count: int) -> list[dict[str, str | int]]:
    """Read until ``count`` lines have come or are known to be missing, as whoever waits for room would."""
    heard = b""
    while not heard.endswith(b"\n") or accounted(lines := list(map(json.loads, heard.splitlines()))) < count:
        heard += os.read(reading, 4096)
        handler.hand_over()
    return lines


def accounted(lines: list[dict[str, str | int]]) -> int:
    return sum(int(line.get("suppressed", 1)) for line in lines)


def test_a_burst_to_a_slow_reader_arrives_whole_and_in_order(make: Make, ends: Ends) -> None:
    writing, reading = ends
    handler = make(writing)
    say(handler, *range(5000))
    assert handler.is_full
    assert [line["msg"] for line in read(handler, reading, 5000)] == [f"{number}" for number in range(5000)]
    assert not handler.is_full


def test_what_there_is_no_room_for_is_left_out_and_counted(make: Make, ends: Ends) -> None:
    writing, reading = ends
    handler = make(writing, kept_bytes=2000)
    say(handler, *range(5000))
    lines = read(handler, reading, 5000)
    assert accounted(lines) == 5000 > len(lines)
    for index, line in enumerate(lines):  # a terminal may take a few more meanwhile
        assert "suppressed" in line or int(line["msg"]) == accounted(lines[:index])
    say(handler, 5000)
    (line,) = read(handler, reading, 1)
    assert (line["msg"], "suppressed" in line) == ("5000", False)


def test_others_who_share_the_descriptor_still_wait(make: Make, ends: Ends) -> None:
    writing, _ = ends
    say(make(writing), *range(5000))
    assert not fcntl.fcntl(writing, fcntl.F_GETFL) & os.O_NONBLOCK


@pytest.mark.parametrize("ends", ["pipe"], indirect=True)
def test_a_pipe_of_another_user_is_not_waited_for_either(
    make: Make, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, reading = ends
    try:
        os.pwritev(writing, [b"\n"], -1, os.RWF_NOWAIT)
    except OSError:
        pytest.skip("this kernel (before Linux 6.4) has no such write to a pipe")
    os.read(reading, 1)

    def refused(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refused)
        handler = make(writing)
    say(handler, *range(5000))
    assert [line["msg"] for line in read(handler, reading, 5000)] == [f"{number}" for number in range(5000)]


def test_a_process_that_ends_waits_for_nobody_long(make: Make, ends: Ends) -> None:
    writing, _ = ends
    handler = make(writing)
    say(handler, *range(5000))
    handler.close()
    assert handler.is_full


@pytest.mark.parametrize("place", ["/dev/full", "closed"])
def test_nobody_hears_of_a_log_that_cannot_be_written(
    make: Make, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if place == "closed":
        reading, writing = os.pipe()
    else:
        reading, writing = os.open("/dev/null", os.O_RDONLY), os.open(place, os.O_WRONLY)
    handler = make(writing, kept_bytes=2000)
    os.close(reading)
    say(handler, *range(100))
    handler.close()
    os.close(writing)
    assert capfd.readouterr() == ("", "")
