"""How TCP behaves in a network namespace: its congestion control, and its memory of connections."""

from __future__ import annotations

import socket
from pathlib import Path

from harness.links.interface import LinkUnavailableError

CONGESTION_CONTROL = "cubic"
"""What links of our own are pinned to: the default of Linux and of the paper's Fedora 26.

It matters more than what is measured (100 processes over 40 ms: 416 ms with cubic, 1020 ms with BBR).  It is
pinned on the routes (``wire.pin_routes``), not by the sysctl tcp_congestion_control: in a namespace that is
not the first one the sysctl takes only what the host's tcp_allowed_congestion_control lists (EPERM), and a
host whose default is
BBR often lists no cubic.  What is recorded is read from connected sockets."""

_ROOT = Path("/proc/sys/net/ipv4")


def setting(name: str) -> str | None:
    """A sysctl below net.ipv4 of the caller's namespace; None when the kernel (or container) hides it."""
    try:
        return (_ROOT / name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def forget_connections() -> None:
    """Switch off the memory of TCP in the caller's namespace.  LinkUnavailableError when it cannot be.

    The kernel otherwise starts a connection with what an earlier one to the same address has learned (RTT,
    window), so that a trial would depend on the one before it.
    """
    try:
        (_ROOT / "tcp_no_metrics_save").write_text("1", encoding="ascii")
    except OSError as error:
        raise LinkUnavailableError(
            f"TCP's settings cannot be changed in a network namespace ({error.strerror}); "
            "a writable /proc/sys makes it possible."
        ) from error


def congestion_control(connected: socket.socket) -> str:
    """What a connected socket uses."""
    name = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.split(b"\0", 1)[0].decode("ascii")
