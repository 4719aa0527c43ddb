"""The supervisor's loop where no real program can lead it: a defect of its own."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from ssa_impl.boundary.seccomp.children import Children
from ssa_impl.boundary.seccomp.entry import Entry
from ssa_impl.boundary.seccomp.filter import architecture
from ssa_impl.boundary.seccomp.notify import Listener, Notification
from ssa_impl.boundary.seccomp.supervisor import Supervisor


class ScriptedListener(Listener):
    """A listener that gives one call and notes the answer."""

    def __init__(self, call: Notification) -> None:
        self._read, self._write = os.pipe()
        super().__init__(self._read)
        os.write(self._write, b"+")
        self._calls = [call]
        self.answers: list[tuple[int, int, int]] = []

    def receive(self) -> Notification | None:
        os.read(self._read, 1)
        os.close(self._write)  # which the loop sees as the end, once this call is answered
        return self._calls.pop()

    def is_waiting(self, identity: int) -> bool:
        return True

    def answer(self, identity: int, value: int = 0, error: int = 0) -> bool:
        self.answers.append((identity, value, error))
        return True

    def close(self) -> None:
        os.close(self._read)


class NoChildren(Children):
    """Nobody to wait for: the children of the test process are others' business."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()


def test_a_defect_ends_one_call_and_not_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arch = architecture()
    listener = ScriptedListener(Notification(7, os.getpid(), arch.socket, (2, 1, 205, 0, 0, 0)))
    children = NoChildren()
    supervisor = Supervisor(listener, Path("/nowhere"), arch, children)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(supervisor._calls, "socket", broken)
    supervisor.run()
    listener.close()
    for descriptor in (children._read, children._write):
        os.close(descriptor)
    assert listener.answers == [(7, 0, errno.EIO)]
    assert "a defect" in caplog.text


def test_a_defect_in_what_the_daemon_says_ends_one_socket_and_not_the_supervisor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arch = architecture()
    listener = ScriptedListener(Notification(7, os.getpid(), arch.socket, (2, 1, 205, 0, 0, 0)))
    children = NoChildren()
    supervisor = Supervisor(listener, Path("/nowhere"), arch, children)
    ours, daemons = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    entry = Entry(ours)
    supervisor._read_channel(entry)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(supervisor, "_take_replies", broken)
    supervisor._attend(ours.fileno(), entry)
    assert entry.channel is None
    assert daemons.recv(1) == b""
    assert "a defect" in caplog.text
    listener.receive()
    daemons.close()
    supervisor.run()
    listener.close()
    for descriptor in (children._read, children._write):
        os.close(descriptor)
