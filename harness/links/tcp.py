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

LARGE_PACKET_SEGMENTS = 44
"""As many of 1448 bytes as 64 KiB hold."""

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


def send_large_packets() -> int:
    """Let TCP in the caller's namespace fill the packets that it hands over; returns the segments in each.

    By itself the kernel makes packets of a millisecond's worth of a connection's rate (tcp_tso_autosize), which for
    one of a hundred connections over 40 ms is two segments; over a lan's 30 us it makes them 64 KiB large, whatever
    the rate.  With this, it does so whatever the round trip.  Receive buffers are as large from the beginning as they
    may become: packets as large as the first window keep it from growing, now and then (1 MB in 860 ms instead of
    370, with one stack more often than with the other).  LinkUnavailableError when it cannot be set.
    """
    try:
        least, _, most = (setting("tcp_rmem") or "").split()
        (_ROOT / "tcp_rmem").write_text(f"{least} {most} {most}", encoding="ascii")
        (_ROOT / "tcp_min_tso_segs").write_text(str(LARGE_PACKET_SEGMENTS), encoding="ascii")
    except (OSError, ValueError) as error:
        raise LinkUnavailableError(
            f"tcp_min_tso_segs and tcp_rmem cannot be changed in a network namespace ({error}); "
            "Linux 5.14 or newer with a writable /proc/sys makes it possible."
        ) from error
    return int(setting("tcp_min_tso_segs") or 0)


def congestion_control(connected: socket.socket) -> str:
    """What a connected socket uses."""
    name = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
    return name.split(b"\0", 1)[0].decode("ascii")
