"""What a link is like when nothing runs on it: how long a connect takes, and what TCP uses."""

from __future__ import annotations

import socket
import statistics
import time
from dataclasses import dataclass

from harness.links import tcp
from harness.links.interface import LinkError

CONNECTS = 20
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ClientView:
    """Seen from the clients' end."""

    rtt_us: float  # median of 20 connects
    congestion_control: str


@dataclass(frozen=True)
class Idle:
    """Seen from both ends."""

    rtt_us: float
    client_congestion_control: str
    server_congestion_control: str


def listen(address: str) -> socket.socket:
    """Listen in the caller's namespace on any port.  Nobody need accept: the kernel shakes hands."""
    opened = socket.socket(_family(address), socket.SOCK_STREAM)
    opened.settimeout(_TIMEOUT_S)
    opened.bind((address, 0))
    opened.listen(2 * CONNECTS)
    return opened


def look(address: str, port: int) -> ClientView:
    """Connect from the caller's namespace 20 times, and once before (ARP).  LinkError if one fails."""
    views = [_connect(address, port) for _ in range(CONNECTS + 1)]
    return ClientView(statistics.median(view.rtt_us for view in views[1:]), views[-1].congestion_control)


def both_ends(listening: socket.socket, client: ClientView) -> Idle:
    """Add what the server's end of one of those connections uses."""
    with listening.accept()[0] as accepted:
        return Idle(client.rtt_us, client.congestion_control, tcp.congestion_control(accepted))


def _connect(address: str, port: int) -> ClientView:
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as connecting:
            connecting.settimeout(_TIMEOUT_S)
            begun_ns = time.perf_counter_ns()
            connecting.connect((address, port))
            took_us = (time.perf_counter_ns() - begun_ns) / 1000
            return ClientView(took_us, tcp.congestion_control(connecting))
    except OSError as error:
        raise LinkError(f"No TCP connection to {address} port {port}: {error.strerror or error}.") from error


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
