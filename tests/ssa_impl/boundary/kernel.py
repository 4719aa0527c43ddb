"""What the supervisor's handlers touch: a kernel that notes what it is told, and a daemon that the test plays.

The application is the test's own process, so descriptors, memory and /proc are real.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ssa_impl.boundary.seccomp.entry import Entry
from ssa_impl.boundary.seccomp.filter import architecture
from ssa_impl.boundary.seccomp.notify import Listener, Notification
from ssa_impl.boundary.seccomp.processes import Process
from ssa_impl.control import channel
from ssa_impl.control.messages import Message, Reply


class Kernel(Listener):
    """Calls are waiting until they are answered or interrupted."""

    def __init__(self) -> None:
        super().__init__(-1)
        self._numbers = itertools.count(1)
        self.waiting: set[int] = set()
        self.answers: dict[int, int] = {}
        """errno by call"""
        self.passed: list[int] = []
        self.given: dict[int, tuple[socket.socket, int]] = {}
        """what a call returned, and its descriptor's flags"""
        self.replaced: list[tuple[int, int]] = []
        """numbers that mean another file now, and their flags"""
        self.interrupting = False
        """whether the next descriptor comes too late for the call"""
        self.out_of_descriptors = False

    def call(self, *arguments: int) -> Notification:
        """Let the application make a call."""
        made = Notification(next(self._numbers), os.getpid(), 0, (*arguments, 0, 0, 0, 0, 0, 0)[:6])
        self.waiting.add(made.id)
        return made

    def interrupt(self, call: Notification) -> None:
        """A signal ends the call before it was answered."""
        self.waiting.remove(call.id)

    def is_waiting(self, identity: int) -> bool:
        return identity in self.waiting

    def answer(self, identity: int, value: int = 0, error: int = 0) -> bool:
        assert value == 0
        if self._ends(identity):
            self.answers[identity] = error
            return True
        return False

    def let_pass(self, identity: int) -> bool:
        self.passed.append(identity)
        return self._ends(identity)

    def give(self, identity: int, descriptor: int, flags: int) -> bool:
        if self.out_of_descriptors:
            raise OSError(errno.EMFILE, "Too many open files")
        if self.interrupting:
            self.interrupting = False
            self.waiting.discard(identity)
        if not self._ends(identity):
            return False
        self.given[identity] = socket.socket(fileno=os.dup(descriptor)), flags
        return True

    def replace(self, identity: int, descriptor: int, number: int, flags: int) -> bool:
        assert identity in self.waiting
        os.dup2(descriptor, number, inheritable=not flags & os.O_CLOEXEC)
        self.replaced.append((number, flags))
        return True

    def _ends(self, identity: int) -> bool:
        if identity not in self.waiting:
            return False
        self.waiting.remove(identity)
        return True


class Daemon:
    """The other end of one entry's channel."""

    def __init__(self) -> None:
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.prepare(ours)
        channel.prepare(self.end)
        self.entry = Entry(ours)

    def hear(self) -> tuple[Message, list[socket.socket]]:
        """Take the next message; its descriptors are sockets."""
        received = channel.receive(self.end)
        assert received is not None
        message, descriptors = received
        return message, [socket.socket(fileno=descriptor) for descriptor in descriptors]

    def reply(self, message: Message, code: int = 0) -> None:
        """Answer, and let the supervisor read it."""
        channel.send(self.end, Reply(message.request, code))
        assert self.entry.take_replies()

    def close(self) -> None:
        """Hang up on both sides."""
        self.end.close()
        self.entry.hang_up()
        self.entry.let_go()


@contextmanager
def this_process() -> Iterator[Process]:
    """The application's process: our own."""
    process = Process(os.getpid(), architecture())
    try:
        yield process
    finally:
        process.close()


class Memory:
    """Some bytes of the application's, at an address."""

    def __init__(self, content: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(content, len(content))
        self.address = ctypes.addressof(self._buffer)

    @property
    def content(self) -> bytes:
        """What is there now."""
        return self._buffer.raw
