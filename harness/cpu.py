"""CPU time and memory of other processes, read from the kernel before and after a trial's window.

``total_ns`` is the process's CPU-time clock (clock_getcpuclockid(3)): the scheduler's own sum over all
threads, ended ones and the running instant included, in nanoseconds: what /proc/PID/task/*/schedstat holds
for the living ones.  The split into user and system comes from /proc/PID/stat (proc(5)) and has the
resolution of clock ticks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.records import Cpu

_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # linux/posix-timers_types.h: the exact one of a process's three clocks
_RESET_PEAK = b"5"  # proc_pid_clear_refs(5): the peak becomes what is resident now


@dataclass(frozen=True)
class CpuTimes:
    """What one process has used since it began."""

    user_ns: int
    system_ns: int
    total_ns: int


Snapshot = Mapping[int, CpuTimes]


def snapshot(pids: Iterable[int]) -> Snapshot:
    """The times of those that live, by pid."""
    times = {pid: read_times(pid) for pid in pids}
    return {pid: found for pid, found in times.items() if found is not None}


def read_times(pid: int) -> CpuTimes | None:
    """Of one process, all its threads; None when it has ended."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
        total_ns = time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # the first one is field 3 of proc_pid_stat(5)
    return CpuTimes(int(fields[11]) * _TICK_NS, int(fields[12]) * _TICK_NS, total_ns)


def used(before: Snapshot, after: Snapshot, peak_rss_bytes: int | None = None) -> Cpu | None:
    """What was used in between; None when a process was lost in between, or there was none."""
    if not after or set(before) - set(after):
        return None
    nothing = CpuTimes(0, 0, 0)
    pairs = [(before.get(pid, nothing), times) for pid, times in after.items()]
    return Cpu(
        user_ns=sum(late.user_ns - early.user_ns for early, late in pairs),
        system_ns=sum(late.system_ns - early.system_ns for early, late in pairs),
        total_ns=sum(late.total_ns - early.total_ns for early, late in pairs),
        peak_rss_bytes=peak_rss_bytes,
    )


def reset_peak_rss(pids: Iterable[int]) -> None:
    """Let the peaks begin anew; for processes that have ended, or are not ours, nothing happens."""
    for pid in pids:
        try:
            Path("/proc", str(pid), "clear_refs").write_bytes(_RESET_PEAK)
        except OSError:
            continue


def peak_rss_bytes(pids: Iterable[int]) -> int | None:
    """Sum of the peaks since :func:`reset_peak_rss`.

    Pages that processes share count for each.  None if unknown.
    """
    peaks = [_peak(pid) for pid in pids]
    return sum(peak for peak in peaks if peak is not None) if peaks and None not in peaks else None


def _peak(pid: int) -> int | None:
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
