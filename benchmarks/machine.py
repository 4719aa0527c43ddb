"""What processes use, read from the kernel; and the machine that a recording is from."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.records import BenchmarkError
from harness import cpu, versions
from harness import machine as host

Parties = Mapping[str, tuple[int, ...]]
"""Processes by what they are: application, peer, daemon, boundary, proxy."""

_KEPT_VERSIONS = ("python", "openssl", "project", "git", "source_sha256")


class CpuMeter:
    """CPU seconds of parties since the meter was made (the scheduler's own sum, all threads)."""

    def __init__(self, parties: Parties) -> None:
        self._parties = parties
        self._before = {party: cpu.snapshot(pids) for party, pids in parties.items()}

    def read(self) -> dict[str, float]:
        """Seconds by party.  BenchmarkError when one of its processes has ended."""
        used = {}
        for party, pids in self._parties.items():
            found = cpu.used(self._before[party], cpu.snapshot(pids))
            if found is None:
                raise BenchmarkError(f"a process of the {party} ended while it was measured")
            used[party] = found.total_ns / 1e9
        return used


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size (proc_pid_smaps_rollup(5)): memory, shared pages divided by who shares them.

    BenchmarkError when a process has ended.
    """
    return sum(_pss(pid) for pid in pids)


def _pss(pid: int) -> int:
    with _alive(pid):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def descriptors(pids: Iterable[int]) -> int:
    """Open descriptors.  BenchmarkError when a process has ended."""
    return sum(_descriptors(pid) for pid in pids)


def _descriptors(pid: int) -> int:
    with _alive(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (only their number matters)


@contextmanager
def _alive(pid: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BenchmarkError(f"process {pid} cannot be looked at: {error.strerror}") from None


def parent_of(pid: int) -> int:
    """The parent's process id."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def is_listening(port: int) -> bool:
    """Whether a TCP socket listens on this port of the IPv4 loopback, without connecting to it."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]
    return any(fields[1] == wanted and fields[3] == "0A" for fields in (line.split() for line in lines))


def environment() -> dict[str, Any]:
    """The machine and the versions of all that takes part, as plain values."""
    machine = {name: value for name, value in host.capture().items() if name != "environment"}
    found = versions.capture()
    programs = {"stunnel": _first_line("stunnel4", "-version"), "haproxy": _first_line("haproxy", "-v")}
    return {
        "machine": machine,
        "versions": {
            **{name: found[name] for name in _KEPT_VERSIONS},
            **programs,
            "cc": _first_line("cc", "--version"),
        },
    }


def _first_line(program: str, option: str) -> str | None:
    """What a program says of its version; None when it is not there."""
    if (path := shutil.which(program)) is None:
        return None
    done = subprocess.run([path, option], capture_output=True, text=True, timeout=10, check=False)
    said = (done.stdout or done.stderr).strip().splitlines()
    return next((line for line in said if any(character.isdigit() for character in line)), None)
