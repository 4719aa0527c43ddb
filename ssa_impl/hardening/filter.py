"""System calls that a worker never makes, refused from then on: a classic BPF program (seccomp(2)).  Pure.

A deny list, not an allow list: Python, OpenSSL and the C library change what they use, and a worker that fails for a
new kind of futex helps nobody.  Refused are those that lead out of the process or reach more of the kernel:

* starting programs and processes (threads may be started: the resolver uses them);
* other processes' memory and descriptors, mounts and namespaces, modules, BPF, io_uring, keyrings, clocks, restart;
* sockets of other families than unix, IPv4, IPv6 and netlink (which getaddrinfo(3) uses): EAFNOSUPPORT.

Refused calls fail with EPERM; clone3, whose flags a filter cannot see, with ENOSYS, so that the C library uses clone.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct
from dataclasses import dataclass

from .kernel import CannotHarden, call

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
_LD_WORD_ABS = 0x20
_ALU_AND = 0x54
_JMP_EQ = 0x15
_RET = 0x06
_OFFSET_NR, _OFFSET_ARCH, _OFFSET_FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_INSTRUCTION = struct.Struct("=HBBI")
_SET_MODE_FILTER = 1
_FLAG_ALL_THREADS = 1  # SECCOMP_FILTER_FLAG_TSYNC

FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
DENIED: dict[str, tuple[int, int]] = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "setns": (308, 268),
    "unshare": (272, 97),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "clock_settime": (227, 112),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "vhangup": (153, 58),
}
"""numbers on x86_64 and aarch64 (asm/unistd.h), -1 where the call does not exist"""


@dataclass(frozen=True)
class Machine:
    """AUDIT_ARCH number, column of DENIED, and the calls that are looked into."""

    audit: int
    column: int
    socket: int
    clone: int
    clone3: int
    seccomp: int


MACHINES = {
    "x86_64": Machine(0xC000003E, 0, 41, 56, 435, 317),
    "aarch64": Machine(0xC00000B7, 1, 198, 220, 435, 277),
}


def build(machine: Machine) -> bytes:
    """Return the filter as an array of ``struct sock_filter``.  Calls of another architecture fail with EPERM."""
    numbers = [row[machine.column] for row in DENIED.values() if row[machine.column] >= 0]
    lines: list[tuple[int, str | int, str | int, int]] = [
        (_LD_WORD_ABS, 0, 0, _OFFSET_ARCH),
        (_JMP_EQ, 0, "deny", machine.audit),
        (_LD_WORD_ABS, 0, 0, _OFFSET_NR),
        (_ALU_AND, 0, 0, _X32),
        (_JMP_EQ, 0, "deny", 0),
        (_LD_WORD_ABS, 0, 0, _OFFSET_NR),
        (_JMP_EQ, "socket", 0, machine.socket),
        (_JMP_EQ, "clone", 0, machine.clone),
        (_JMP_EQ, "absent", 0, machine.clone3),
        *((_JMP_EQ, "deny", 0, number) for number in numbers),
        (_RET, 0, 0, RET_ALLOW),
    ]
    labels = {"clone": len(lines)}
    lines += [
        (_LD_WORD_ABS, 0, 0, _OFFSET_FIRST_ARGUMENT),
        (_ALU_AND, 0, 0, _CLONE_THREAD),
        (_JMP_EQ, "deny", "allow", 0),
    ]
    labels["socket"] = len(lines)
    lines.append((_LD_WORD_ABS, 0, 0, _OFFSET_FIRST_ARGUMENT))
    lines += [(_JMP_EQ, "allow", 0, family) for family in FAMILIES]
    lines.append((_RET, 0, 0, RET_ERRNO | errno.EAFNOSUPPORT))
    for label, answer in (
        ("allow", RET_ALLOW),
        ("deny", RET_ERRNO | errno.EPERM),
        ("absent", RET_ERRNO | errno.ENOSYS),
    ):
        labels[label] = len(lines)
        lines.append((_RET, 0, 0, answer))
    return b"".join(_assemble(index, line, labels) for index, line in enumerate(lines))


def _assemble(index: int, line: tuple[int, str | int, str | int, int], labels: dict[str, int]) -> bytes:
    code, true, false, k = line
    jumps = [labels[to] - index - 1 if isinstance(to, str) else to for to in (true, false)]
    return _INSTRUCTION.pack(code, *jumps, k)


def install() -> None:
    """Put this process, all its threads and all that they start under the filter.  no_new_privs must be set.

    Raises CannotHarden.
    """
    machine = MACHINES.get(platform.machine())
    if machine is None:
        raise CannotHarden(f"no seccomp filter: the system call numbers of {platform.machine()} are not known here")
    program = build(machine)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(instructions))
    try:
        call(machine.seccomp, _SET_MODE_FILTER, _FLAG_ALL_THREADS, header)
    except OSError as error:
        raise CannotHarden(f"no seccomp filter: {error.strerror}") from None
