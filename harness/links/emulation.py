"""The emulator's process: started between two TUN devices, asked, ended.

It lives in the harness's own namespace and holds nothing but the two devices, which end with it.  It shares one
page with us: 64-bit words, delivered, dropped, and late for each of ``LATE_BOUNDS_NS``.  When we end, however, it
ends too (its standard input does).  A wire takes no turn at the CPU, so it asks for one first (SCHED_FIFO, else a
high priority, else nothing: recorded).
"""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Literal

from harness.links import counters, emulator
from harness.links.interface import LATE_BOUNDS_NS, EmulatorCounters, LinkError

Scheduling = Literal["fifo", "nice", "normal"]

_WORDS = 2 + len(LATE_BOUNDS_NS)
_HIGHEST_PRIORITY = -20
_END_S = 30.0


class Emulator:
    """One running process.  LinkError when it cannot be started."""

    def __init__(self, devices: Sequence[int], delay_ns: int, limit_bytes: int) -> None:
        statistics = os.memfd_create("ssa-emulator", os.MFD_CLOEXEC)
        try:
            os.ftruncate(statistics, mmap.PAGESIZE)
            self._page = mmap.mmap(statistics, mmap.PAGESIZE)
            numbers = (*devices, statistics, delay_ns, limit_bytes)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", emulator.__file__, *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(*devices, statistics),
                start_new_session=True,  # Ctrl-C is for the harness; the lifeline ends this one, and last
            )
        finally:
            os.close(statistics)
        self.pid = self._process.pid
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            self._process.wait(_END_S)
            sentence = self.lost()
            self.close()
            raise LinkError(sentence)
        self.scheduling: Scheduling = _hurry(self.pid)

    @property
    def words(self) -> list[int]:
        """Delivered, dropped, and late for each bound, until now."""
        return list(memoryview(self._page).cast("Q")[:_WORDS])

    def counted(self) -> EmulatorCounters:
        """What it has done until now.  OSError when it has ended."""
        delivered, dropped, *late = self.words
        return EmulatorCounters("tun", delivered, dropped, tuple(late), counters.read_waited_ns(self.pid))

    def lost(self) -> str:
        """One sentence when it has ended; empty while it lives."""
        code = self._process.poll()
        if code is None:
            return ""
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended ({code})"
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip() if not self._process.stderr.closed else ""
        return (
            f"The emulator of the link {how} while it was needed. {f'It said: {said}' if said else 'It said nothing.'}"
        )

    def close(self) -> None:
        """End it; the devices go with it."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
        self._page.close()


def _hurry(pid: int) -> Scheduling:
    try:
        os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        try:
            os.setpriority(os.PRIO_PROCESS, pid, _HIGHEST_PRIORITY)
        except OSError:
            return "normal"
        return "nice"
    return "fifo"
