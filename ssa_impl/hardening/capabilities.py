"""Capabilities (capabilities(7)) that are kept, each with its reason; all others are given up for good."""

from __future__ import annotations

import ctypes
import platform
import struct
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

from .kernel import CannotHarden, call, prctl

_CAPSET = {"x86_64": 126, "aarch64": 91}
_HEADER = struct.Struct("=Ii")
_DATA = struct.Struct("=IIIIII")  # effective, permitted, inheritable: low halves, then high halves
_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4


class Capability(IntEnum):
    """Those that any process of the daemon keeps (linux/capability.h)."""

    CAP_DAC_READ_SEARCH = 2
    CAP_NET_BIND_SERVICE = 10
    CAP_SYS_PTRACE = 19


WORKER = {Capability.CAP_NET_BIND_SERVICE: "bind() of an application to a port below 1024"}
KEEPER = {Capability.CAP_DAC_READ_SEARCH: "key files that only their owner may read"}
PARENT = {
    **WORKER,
    **KEEPER,
    Capability.CAP_SYS_PTRACE: "which program another user's process runs (/proc/PID/exe)",
}
"""What each process keeps of those it has, and what for; the parent can give only what it has."""


def held() -> frozenset[int]:
    """Return the numbers of the permitted capabilities."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapPrm:"))
    return frozenset(number for number in range(64) if mask >> number & 1)


def keep_only(wanted: Iterable[Capability], *, to_children: bool = False) -> frozenset[Capability]:
    """Give up every capability but these, also for what is started later; return which of them are there.

    ``to_children``: programs that are started get them too, whoever the user is (ambient capabilities).
    Raises CannotHarden.
    """
    kept = frozenset(wanted) & held()
    mask = sum(1 << number for number in kept)
    try:
        for number in _bounding() - kept:
            prctl(_PR_CAPBSET_DROP, number)
        prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        low, high = mask & 0xFFFFFFFF, mask >> 32
        data = ctypes.create_string_buffer(
            _DATA.pack(low, low, low * to_children, high, high, high * to_children), _DATA.size
        )
        call(_CAPSET[platform.machine()], _HEADER.pack(_VERSION_3, 0), data)
        for number in kept if to_children else ():
            prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)
    except OSError as error:
        raise CannotHarden(f"capabilities cannot be given up: {error.strerror}") from None
    return frozenset(Capability(number) for number in kept)


def _bounding() -> frozenset[int]:
    """The bounding set can be made smaller by who has CAP_SETPCAP; for others no_new_privs keeps what they gave up."""
    if 8 not in held():  # CAP_SETPCAP
        return frozenset()
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text("ascii"))
    return frozenset(range(last + 1))
