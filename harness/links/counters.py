"""What the kernel counts, read through descriptors that stay in the namespace they were opened in."""

from __future__ import annotations

import os
from pathlib import Path

from harness.links.interface import Counters

_SNMP = "/proc/thread-self/net/snmp"
_DEV = "/proc/thread-self/net/dev"


def open_snmp() -> int:
    """A descriptor of the caller's namespace's TCP counters, for :func:`retransmitted_segments`."""
    return os.open(_SNMP, os.O_RDONLY | os.O_CLOEXEC)


def open_interfaces() -> int:
    """A descriptor of the caller's namespace's interface counters, for :func:`interface_bytes`."""
    return os.open(_DEV, os.O_RDONLY | os.O_CLOEXEC)


def read_counters(server_interfaces: int, interface: str, snmp: list[int]) -> Counters:
    """Bytes from the server's end of the link, segments sent again from all the namespaces."""
    received, sent = interface_bytes(_read(server_interfaces), interface)
    return Counters(sent, received, sum(retransmitted_segments(_read(one)) for one in snmp))


def read_retransmitted(snmp: int) -> int:
    """Segments sent again, from one descriptor of :func:`open_snmp`."""
    return retransmitted_segments(_read(snmp))


def _read(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts).decode("ascii", errors="replace")


def read_dropped(interfaces: int, interface: str) -> int:
    """Packets that an interface had no room for, from one descriptor of :func:`open_interfaces`."""
    return _fields(_read(interfaces), interface)[11]


def read_waited_ns(pid: int) -> int:
    """Time that a process spent ready to run without a CPU (/proc/PID/schedstat).  OSError when it has ended."""
    return int(Path("/proc", str(pid), "schedstat").read_text(encoding="ascii").split()[1])


def retransmitted_segments(snmp: str) -> int:
    """RetransSegs in the text of /proc/net/snmp.  ValueError when it is not there."""
    names, values = ([line.split() for line in snmp.splitlines() if line.startswith("Tcp:")] + [[], []])[:2]
    return int(dict(zip(names, values, strict=False)).get("RetransSegs", ""))


def interface_bytes(dev: str, interface: str) -> tuple[int, int]:
    """(received, sent) of one interface in the text of /proc/net/dev.  ValueError when it is not there.

    A large packet (GSO) counts one header only, as the veth carries it whole.
    """
    fields = _fields(dev, interface)
    return fields[0], fields[8]


def _fields(dev: str, interface: str) -> list[int]:
    for line in dev.splitlines():
        name, colon, rest = line.partition(":")
        if colon and name.strip() == interface:
            fields = rest.split()
            if len(fields) < 12:
                break
            return [int(field) for field in fields]
    raise ValueError(f"no counters of the interface {interface!r}")
