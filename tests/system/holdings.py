"""What processes hold: descriptors by kind, and resident memory (proc_pid_fd(5), proc_pid_smaps(5))."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.system.waiting import eventually_nothing

Holdings = dict[int, Counter[str]]


def descriptors(pids: Iterable[int]) -> Holdings:
    """Return how many descriptors of each kind each process has open."""
    return {pid: _descriptors_of(pid) for pid in pids}


def _descriptors_of(pid: int) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kinds[re.sub(r"\[?\d+\]?", "", str(entry.readlink()))] += 1
        except FileNotFoundError:
            continue  # closed meanwhile
    return kinds


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has that is really there."""
    found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text("ascii"), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def private_bytes(pid: int) -> int:
    """Return how much memory a process has that no other has a part in."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    return 1024 * sum(int(kib) for kib in re.findall(r"^(?:Private_\w+|Swap):\s+(\d+) kB", rollup, re.MULTILINE))


def comes_back_to(before: Holdings) -> None:
    """Wait until the processes hold exactly what they held."""

    def difference() -> dict[int, tuple[Counter[str], Counter[str]]]:
        now = descriptors(before)
        return {pid: (now[pid] - held, held - now[pid]) for pid, held in before.items() if now[pid] != held}

    eventually_nothing(difference)
