"""How much memory is left here: the machine's, or what this process's control groups leave of it."""

from __future__ import annotations

from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")


def available_bytes() -> int | None:
    """What new processes could use without swapping; None when the kernel does not say."""
    limits = [
        _machine(Path("/proc/meminfo").read_text(encoding="ascii")),
        *_groups(Path("/proc/self/cgroup").read_text(encoding="utf-8"), _CGROUPS),
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def _machine(meminfo: str) -> int | None:
    """MemAvailable of /proc/meminfo (proc_meminfo(5))."""
    return next(
        (int(line.split()[1]) * 1024 for line in meminfo.splitlines() if line.startswith("MemAvailable:")), None
    )


def _groups(membership: str, root: Path) -> list[int | None]:
    """What is left in each control group above the process (cgroups(7), version 2)."""
    path = next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)
    if path is None:
        return []
    own = root / path.lstrip("/")
    return [left_in(group) for group in (own, *own.parents) if group.is_relative_to(root)]


def left_in(group: Path) -> int | None:
    """The group's limit less what it uses and cannot give back; None when it has no limit."""
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        rows = [line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(0, int(limit) - used + sum(int(row[1]) for row in rows if row[0] in _RECLAIMABLE))
