"""Which system calls are notified: a classic BPF program over ``struct seccomp_data`` (linux/seccomp.h).

Only integers are looked at, never memory, so nothing can change between the check and the call:

* socket(AF_INET or AF_INET6, SOCK_STREAM, IPPROTO_TLS);
* setsockopt and getsockopt at the levels TLS, TCP, IP and IPv6, and a few names of SOL_SOCKET;
* connect, bind, listen, accept, accept4, getsockname, getpeername on any descriptor: a filter cannot know whose it is.

Everything else, and every call of another architecture, goes straight to the kernel.
"""

from __future__ import annotations

import platform
import socket
import struct
from dataclasses import dataclass

from ...abi import IPPROTO_TLS

RET_ALLOW = 0x7FFF0000
RET_USER_NOTIF = 0x7FC00000

_LD_WORD_ABS = 0x20
_ALU_AND = 0x54
_JMP_EQ = 0x15
_RET = 0x06

_OFFSET_NR, _OFFSET_ARCH = 0, 4
_SOCK_TYPE_MASK = 0xF
_INSTRUCTION = struct.Struct("=HBBI")

SOL_SOCKET_NAMES = (
    socket.SO_ERROR,
    socket.SO_KEEPALIVE,
    socket.SO_REUSEADDR,
    socket.SO_REUSEPORT,
    socket.SO_PRIORITY,
    socket.SO_DOMAIN,
    socket.SO_PROTOCOL,
)
"""SOL_SOCKET options that concern the wire or that a unix socket would answer wrongly."""
LEVELS = (IPPROTO_TLS, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6)


@dataclass(frozen=True)
class Architecture:
    """AUDIT_ARCH number and system call numbers (asm/unistd.h)."""

    audit: int
    socket: int
    connect: int
    bind: int
    listen: int
    getsockname: int
    getpeername: int
    setsockopt: int
    getsockopt: int
    accept: int
    accept4: int
    pidfd_getfd: int = 438
    seccomp: int = 317


ARCHITECTURES = {
    "x86_64": Architecture(0xC000003E, 41, 42, 49, 50, 51, 52, 54, 55, 43, 288),
    "aarch64": Architecture(0xC00000B7, 198, 203, 200, 201, 204, 205, 208, 209, 202, 242, seccomp=277),
}


def architecture() -> Architecture:
    """Return this machine's numbers; KeyError where none are known."""
    return ARCHITECTURES[platform.machine()]


def _argument(index: int) -> int:
    return 16 + 8 * index  # low half of a 64-bit argument, little-endian


def build(arch: Architecture) -> bytes:
    """Return the filter as an array of ``struct sock_filter``."""
    lines: list[tuple[int, str | int, str | int, int]] = [
        (_LD_WORD_ABS, 0, 0, _OFFSET_ARCH),
        (_JMP_EQ, 0, "allow", arch.audit),
        (_LD_WORD_ABS, 0, 0, _OFFSET_NR),
        (_JMP_EQ, "socket", 0, arch.socket),
        (_JMP_EQ, "option", 0, arch.setsockopt),
        (_JMP_EQ, "option", 0, arch.getsockopt),
    ]
    plain = (
        arch.connect,
        arch.accept4,
        arch.accept,
        arch.bind,
        arch.listen,
        arch.getsockname,
        arch.getpeername,
    )
    lines += [(_JMP_EQ, "notify", 0, number) for number in plain]
    lines.append((_RET, 0, 0, RET_ALLOW))
    labels = {"socket": len(lines)}
    lines += [
        (_LD_WORD_ABS, 0, 0, _argument(2)),
        (_JMP_EQ, 0, "allow", IPPROTO_TLS),
        (_LD_WORD_ABS, 0, 0, _argument(1)),
        (_ALU_AND, 0, 0, _SOCK_TYPE_MASK),
        (_JMP_EQ, 0, "allow", socket.SOCK_STREAM),
        (_LD_WORD_ABS, 0, 0, _argument(0)),
        (_JMP_EQ, "notify", 0, socket.AF_INET),
        (_JMP_EQ, "notify", "allow", socket.AF_INET6),
    ]
    labels["option"] = len(lines)
    lines.append((_LD_WORD_ABS, 0, 0, _argument(1)))
    lines += [(_JMP_EQ, "notify", 0, level) for level in LEVELS]
    lines += [(_JMP_EQ, 0, "allow", socket.SOL_SOCKET), (_LD_WORD_ABS, 0, 0, _argument(2))]
    lines += [(_JMP_EQ, "notify", 0, name) for name in SOL_SOCKET_NAMES]
    labels["allow"] = len(lines)
    lines.append((_RET, 0, 0, RET_ALLOW))
    labels["notify"] = len(lines)
    lines.append((_RET, 0, 0, RET_USER_NOTIF))
    return b"".join(_assemble(index, line, labels) for index, line in enumerate(lines))


def _assemble(index: int, line: tuple[int, str | int, str | int, int], labels: dict[str, int]) -> bytes:
    code, true, false, k = line
    jumps = [labels[to] - index - 1 if isinstance(to, str) else to for to in (true, false)]
    return _INSTRUCTION.pack(code, *jumps, k)
