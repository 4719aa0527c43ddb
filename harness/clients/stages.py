"""How n processes start together, and how their parent learns that all are done.

Theory of operation.  The parent makes everything before it forks; the kernel's own bookkeeping of open pipe
ends is the counting:

- A :class:`Gate` holds everybody until the parent opens it.  Each process reads from a pipe that nobody
  writes to; the parent closes its end, and all see end-of-file at once.
- A :class:`Muster` is complete when everybody has arrived *or died*.  Each process holds a copy of the write
  end and closes it; the parent's read end sees end-of-file when the last copy is gone.  One wake-up for n
  arrivals, so the parent does not compete for the processor while the clock runs.
- The :class:`Board` is shared memory: the moment of release, and one byte for each process that says how far
  it has come, so that a process that is killed or hangs can still be described.

Release: the parent writes a moment a few milliseconds ahead onto the board, then opens the gate.  Everybody
sleeps until that moment and notes when it first ran.  On a machine with fewer processors than processes the
first ones would then do all their work before the last ones run at all (80 ms later with 100 processes on two
cores), so all stand at a *start line*:

- ``fifo``: until it has noted the time, each process has real-time priority (needs CAP_SYS_NICE), so the
  kernel runs all of them before anybody's work, the server's included; the last one then runs about 1 ms
  after the first, also on a busy machine.
- ``yield``: without that right, each gives the processor away until all have been seen, at most 20 ms.  A few
  milliseconds, with stragglers when other programs want the processor too.

Either way the work itself is done at normal priority.
"""

from __future__ import annotations

import mmap
import os
import time
from enum import IntEnum

_MOMENT_BYTES = 8
_YIELD_LIMIT_NS = 20_000_000
_FIRST = os.sched_param(1)
_NORMAL = os.sched_param(0)


class Phase(IntEnum):
    """How far a process has come; the value is a byte on the board."""

    FORKED = 0
    READY = 1
    RELEASED = 2
    TCP = 3
    TLS = 4
    FIRST_BYTE = 5
    DONE = 6  # or failed: it has nothing more to do before its report

    @property
    def doing(self) -> str:
        """What a process that has come this far, and no further, is in the middle of."""
        return _DOING[self]


_READY = bytes([Phase.READY])

_DOING = {
    Phase.FORKED: "while making itself ready",
    Phase.READY: "while waiting for the release",
    Phase.RELEASED: "while connecting",
    Phase.TCP: "in the TLS handshake",
    Phase.TLS: "while waiting for the answer's first byte",
    Phase.FIRST_BYTE: "in the middle of the body",
    Phase.DONE: "after its download",
}


class Gate:
    """Opened by the parent, once, for everybody."""

    def __init__(self) -> None:
        self._wait_end, self._open_end = os.pipe()

    def in_child(self) -> None:
        """Right after fork: keep only the end that waits."""
        os.close(self._open_end)

    @property
    def child_end(self) -> int:
        """In a child: the descriptor at which it waits."""
        return self._wait_end

    def wait(self) -> None:
        """In a child: sleep until the gate opens (or the parent is gone)."""
        os.read(self._wait_end, 1)

    def open(self) -> None:
        """In the parent.  Harmless the second time."""
        if self._open_end >= 0:
            os.close(self._open_end)
            self._open_end = -1

    def close(self) -> None:
        """In the parent: give everything back."""
        self.open()
        os.close(self._wait_end)


class Muster:
    """Complete when everybody has arrived or died."""

    def __init__(self) -> None:
        self.read_end, self._write_end = os.pipe()

    def in_child(self) -> None:
        """Right after fork: keep only the end that arrives."""
        os.close(self.read_end)

    @property
    def child_end(self) -> int:
        """In a child: the descriptor that it closes to arrive."""
        return self._write_end

    def arrive(self) -> None:
        """In a child, once."""
        os.close(self._write_end)

    def all_forked(self) -> None:
        """In the parent, after the last fork: from now on ``read_end`` is readable when all have arrived."""
        os.close(self._write_end)
        self._write_end = -1

    def close(self) -> None:
        """In the parent: give everything back."""
        if self._write_end >= 0:
            os.close(self._write_end)
        os.close(self.read_end)


class Baton:
    """Goes from process to process: each takes it when the one before has handed it on, or has died.

    A chain of pipes: each process holds the only write end of the pipe that the next one reads from.
    """

    def __init__(self) -> None:
        self._wait_end = -1  # the first one waits for nobody
        self._next = (-1, -1)

    def before_fork(self) -> None:
        """In the parent."""
        self._next = os.pipe()

    def in_child(self) -> None:
        """Right after fork."""
        os.close(self._next[0])

    def after_fork(self) -> None:
        """In the parent: keep only what the next process will wait for."""
        if self._wait_end >= 0:
            os.close(self._wait_end)
        os.close(self._next[1])
        self._wait_end, self._next = self._next[0], (-1, -1)

    def wait(self) -> None:
        """In a child: sleep until it is this one's turn."""
        if self._wait_end >= 0:
            os.read(self._wait_end, 1)

    def hand_on(self) -> None:
        """In a child, once."""
        os.close(self._next[1])

    def close(self) -> None:
        """In the parent: give everything back."""
        for end in (self._wait_end, *self._next):
            if end >= 0:
                os.close(end)


class Board:
    """Shared memory of one trial."""

    def __init__(self, processes: int) -> None:
        self.descriptor = os.memfd_create("board")
        os.ftruncate(self.descriptor, _MOMENT_BYTES + processes)
        self._memory = mmap.mmap(self.descriptor, _MOMENT_BYTES + processes)

    @property
    def release_ns(self) -> int:
        """The intended release, CLOCK_MONOTONIC; 0 before it is known."""
        return int.from_bytes(self._memory[:_MOMENT_BYTES], "little")

    @release_ns.setter
    def release_ns(self, moment: int) -> None:
        self._memory[:_MOMENT_BYTES] = moment.to_bytes(_MOMENT_BYTES, "little")

    def reached(self, process: int, phase: Phase) -> None:
        """In a child: say how far it has come."""
        self._memory[_MOMENT_BYTES + process] = phase

    def phase(self, process: int) -> Phase:
        """How far a process has come."""
        return Phase(self._memory[_MOMENT_BYTES + process])

    def somebody_is_ready(self) -> bool:
        """Whether somebody has not been seen after the release."""
        return self._memory.find(_READY, _MOMENT_BYTES) >= 0

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.descriptor)


class StartLine:
    """Where one process stands between the gate and the release."""

    def __init__(self) -> None:
        self._is_first = False

    def step_up(self) -> None:
        """Before the gate.  Where real-time priority is not allowed, :meth:`run` yields instead."""
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, _FIRST)
        except PermissionError:
            return
        self._is_first = True

    def run(self, board: Board, process: int, held_back_ns: int = 0) -> int:
        """After the gate.

        Sleep until the release (held back: so much longer), let the others wake up too; returns when this
        process first ran.
        """
        remaining_ns = board.release_ns + held_back_ns - time.monotonic_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns / 1e9)
        seen_ns = time.monotonic_ns()
        if self._is_first:
            os.sched_setscheduler(0, os.SCHED_OTHER, _NORMAL)
        board.reached(process, Phase.RELEASED)
        while not self._is_first and board.somebody_is_ready() and time.monotonic_ns() - seen_ns < _YIELD_LIMIT_NS:
            os.sched_yield()
        return seen_ns

    @classmethod
    def kind(cls) -> str:
        """``fifo`` or ``yield``: what this machine allows; tried out on the calling process."""
        line, board = cls(), Board(1)
        line.step_up()
        line.run(board, 0)
        board.close()
        return "fifo" if line._is_first else "yield"
