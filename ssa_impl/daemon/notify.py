"""What a service manager gives and wants to hear: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket
import time

_FIRST = 3
"""SD_LISTEN_FDS_START"""


def notify(*assignments: str) -> None:
    """Tell the service manager, if there is one and it listens."""
    if not (path := os.environ.get("NOTIFY_SOCKET")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        try:
            end.connect(address)
            end.send("\n".join(assignments).encode())
        except OSError:
            return  # nobody listens any more: there is nothing to be told


def reloading() -> None:
    """Say that a reload begins (systemd.service(5), Type=notify-reload); READY=1 ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_s() -> float:
    """Return how often the service manager must hear of us at least, in seconds; 0 when it need not.

    Raises ValueError for what is no number of microseconds.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6


def listener_given() -> socket.socket | None:
    """Return the listener of the service manager's, None when there is none.  Raises OSError when it is unfit."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS", "0") == "0":
        return None
    if os.environ["LISTEN_FDS"] != "1":
        raise OSError(0, "more than one socket was given")
    listener = socket.socket(fileno=_FIRST)
    fits = listener.family == socket.AF_UNIX and listener.type == socket.SOCK_SEQPACKET
    if not fits or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise OSError(0, "the socket that was given is not ListenSequentialPacket= with a path")
    os.set_inheritable(_FIRST, False)
    listener.setblocking(False)
    return listener
