"""The delay of an emulated wide-area link: what one TUN device hands over is given to the other, later.

Run by path with the standard library only: ``python -I -S emulator.py TUN TUN STATISTICS DELAY_NS
LIMIT_BYTES`` (three open descriptors, two numbers).  It ends when its standard input does, with 0; with 1 and
one sentence when a device fails.

Theory of operation.  Packets come as the kernel has them, up to 64 KiB with a virtio header before them
(IFF_VNET_HDR, TSO), and are passed on unread.  Each gets a deadline when it is read; the deadlines of one
direction ascend, so a queue is enough.  The loop reads what is there, delivers what is due, and sleeps until the
next deadline or packet; a few packets at a time, so that neither direction waits for the other.  It never delivers
early, and counts how late it is in the page of statistics (``emulation.py``), which the harness has mapped as well.
What the receiving end's TCP does with a packet happens in the system call that delivers it, and is part of this
process's CPU time: most of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import select
import sys
import time
from collections import deque

_PACKET_BYTES = 65535 + 64  # the largest IP packet, and its virtio header
_BATCH = 8
_BOUNDS_NS = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 50_000_000)
_DELIVERED, _DROPPED, _LATE = 0, 1, 2  # words of the statistics
_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_NEVER_NS = 1 << 62


class Direction:
    """One way through the emulator."""

    def __init__(self, source: int, target: int, delay_ns: int, limit_bytes: int, words: memoryview) -> None:
        self._source, self._target = source, target
        self._delay_ns, self._limit_bytes = delay_ns, limit_bytes
        self._words = words
        self._queue: deque[tuple[int, bytes]] = deque()
        self._queued_bytes = 0

    def receive(self) -> bool:
        """Read what is there; whether there may be more."""
        for _ in range(_BATCH):
            try:
                packet = os.read(self._source, _PACKET_BYTES)
            except BlockingIOError:
                return False
            if not packet:
                raise OSError(errno.EBADFD, "it has ended")
            if self._queued_bytes + len(packet) > self._limit_bytes:
                self._words[_DROPPED] += 1
                continue
            self._queue.append((time.monotonic_ns() + self._delay_ns, packet))
            self._queued_bytes += len(packet)
        return True

    @property
    def deadline_ns(self) -> int:
        """Of the first packet; far away when there is none."""
        return self._queue[0][0] if self._queue else _NEVER_NS

    def deliver(self) -> None:
        """Write what is due."""
        for _ in range(_BATCH):
            late_ns = time.monotonic_ns() - self.deadline_ns
            if late_ns < 0:
                return
            packet = self._queue.popleft()[1]
            self._queued_bytes -= len(packet)
            for place, bound_ns in enumerate(_BOUNDS_NS, start=_LATE):
                if late_ns <= bound_ns:
                    break
                self._words[place] += 1
            self._write(packet)

    def _write(self, packet: bytes) -> None:
        try:
            os.write(self._target, packet)
        except OSError as error:
            if error.errno in {errno.EBADFD, errno.EIO}:
                raise
            self._words[_DROPPED] += 1
        else:
            self._words[_DELIVERED] += 1


def run(there: Direction, back: Direction, devices: tuple[int, int]) -> None:
    """Until standard input ends."""
    more = there.receive() | back.receive()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        wait_ns = 0 if more else min(there.deadline_ns, back.deadline_ns) - time.monotonic_ns()
        wait_s = None if wait_ns > _NEVER_NS // 2 else max(0, wait_ns) / 1e9
        # select(2), as its time-out has microseconds: poll and epoll in Python have whole milliseconds
        if 0 in select.select((*devices, 0), (), (), wait_s)[0]:
            return
        there.deliver()
        back.deliver()
        more = there.receive() | back.receive()


def main(argv: list[str]) -> int:
    """See the module's docstring."""
    left, right, statistics, delay_ns, limit_bytes = map(int, argv)
    left, right = os.dup(left), os.dup(right)  # the lowest numbers that are free: select(2) takes those below 1024
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    words = memoryview(mmap.mmap(statistics, mmap.PAGESIZE)).cast("Q")
    there = Direction(left, right, delay_ns, limit_bytes, words)
    back = Direction(right, left, delay_ns, limit_bytes, words)
    try:
        run(there, back, (left, right))
    except OSError as error:
        sys.stderr.write(f"a device failed: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
