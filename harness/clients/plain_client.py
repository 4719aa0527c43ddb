"""No TLS in the client: plain HTTP to the server, or to a local proxy that does the TLS."""

from __future__ import annotations

import socket
from collections.abc import Callable

from harness.clients.target import PROXY_ADDRESS, Target


class PlainClient:
    """One TCP connection.  Made before the release: the socket."""

    connected_in_2018 = False  # the published harness had no such client

    def __init__(self, target: Target) -> None:
        self._is_direct = not target.proxy_port
        self._peer = (target.address, target.port) if self._is_direct else (PROXY_ADDRESS, target.proxy_port)
        family = socket.AF_INET6 if ":" in self._peer[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the other stacks' sockets have it

    def dial(self) -> bool:
        """Connect.  A proxy accepts before it has a server, so only a direct connection says that TCP is done."""
        self._socket.connect(self._peer)
        return self._is_direct

    def handshake(self) -> bool:
        """There is none, or it is the proxy's."""
        return False

    def send_all(self, data: bytes) -> None:
        """Send everything."""
        self._socket.sendall(data)

    @property
    def receive_into(self) -> Callable[[memoryview], int]:
        """Read at most as much as the buffer holds; 0 at the end."""
        return self._socket.recv_into

    def explain(self, error: Exception) -> tuple[str, int | None]:
        """One sentence and the errno, if it has one."""
        if isinstance(error, OSError):
            return f"{error.strerror or error}.", error.errno
        return f"{error}", None

    def terms(self) -> dict[str, str | bool | int | None]:
        """Nothing was negotiated here; by its port a proxy's log tells what was negotiated for this connection."""
        return {"local_port": self._socket.getsockname()[1]}
