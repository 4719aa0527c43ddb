"""The unix connection to the application: who may become its other end, and when it polls as what."""

from __future__ import annotations

import errno
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from ssa_impl.daemon.inner import InnerListener, drain, fill
from ssa_impl.daemon.waits import has_hung_up, hung_up
from ssa_impl.errors import DaemonError


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[InnerListener]:
    made = InnerListener(tmp_path / "inner")
    yield made
    made.close()
    assert not (tmp_path / "inner").exists()


@pytest.fixture
def application() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        yield made


def polls(end: socket.socket, events: int = select.POLLIN | select.POLLOUT) -> int:
    poll = select.poll()
    poll.register(end, events)
    return sum(event for _, event in poll.poll(0))


def test_tying_connects_the_two(listener: InnerListener, application: socket.socket) -> None:
    with listener.tie(application) as end:
        application.send(b"up")
        assert end.recv(10) == b"up"
        end.send(b"down")
        assert application.recv(10) == b"down"
        assert not end.getblocking()


def test_nobody_elses_connection_is_taken(listener: InnerListener, application: socket.socket, tmp_path: Path) -> None:
    intrusion = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b'I am it')"
    subprocess.run([sys.executable, "-c", intrusion, str(tmp_path / "inner")], check=True)
    with listener.tie(application) as end:
        application.send(b"no, I am")
        assert end.recv(100) == b"no, I am"


def test_tying_twice_is_eisconn(listener: InnerListener, application: socket.socket) -> None:
    with listener.tie(application), pytest.raises(DaemonError) as caught:
        listener.tie(application)
    assert caught.value.errno == errno.EISCONN


@pytest.mark.parametrize("buffer_bytes", [None, 1, 4096, 10_000_000])
def test_filled_is_not_writable_and_drained_is(
    listener: InnerListener, application: socket.socket, buffer_bytes: int | None
) -> None:
    if buffer_bytes is not None:
        application.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
    with listener.tie(application) as end, select.epoll() as edge:
        filled = fill(application)
        assert filled > 0
        assert polls(application) == 0
        edge.register(application, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        assert edge.poll(0) == []
        with pytest.raises(BlockingIOError):
            application.send(b"x", socket.MSG_DONTWAIT)
        trio.run(drain, end, filled)
        assert edge.poll(0) == [(application.fileno(), select.EPOLLOUT)]
        assert polls(application) == select.POLLOUT
        application.send(b"first words")
        assert end.recv(100) == b"first words"


def test_draining_takes_no_word_of_the_application(listener: InnerListener, application: socket.socket) -> None:
    application.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    with listener.tie(application) as end:
        filled = fill(application)
        application.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
        application.send(b"too early")
        trio.run(drain, end, filled)
        assert end.recv(100) == b"too early"


def test_closing_with_the_junk_unread_is_an_error_for_the_application(
    listener: InnerListener, application: socket.socket
) -> None:
    with listener.tie(application):
        fill(application)
    assert polls(application) & select.POLLERR
    with pytest.raises(ConnectionResetError):
        application.recv(1)


def test_draining_after_the_application_has_gone_ends(listener: InnerListener, application: socket.socket) -> None:
    with listener.tie(application) as end:
        filled = fill(application)
        application.close()
        trio.run(drain, end, filled)
        assert end.recv(1) == b""


def test_hanging_up_is_told_from_the_end_of_file() -> None:
    left, right = socket.socketpair()
    with left, right:
        right.shutdown(socket.SHUT_WR)
        assert not has_hung_up(left)
        copy = right.dup()
        right.close()
        assert not has_hung_up(left)
        copy.close()
        assert has_hung_up(left)


def test_hanging_up_is_waited_for_however_much_is_unread() -> None:
    async def main() -> None:
        left, right = socket.socketpair()
        with left, right:
            right.send(b"unread")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hung_up, left)
                await trio.testing.wait_all_tasks_blocked()
                right.close()

    trio.run(main)
