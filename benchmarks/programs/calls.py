"""The same as calls.c, from Python: ``python calls.py PORT NAME CHAIN KEY COUNT``.  See there."""

from __future__ import annotations

import json
import select
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

IPPROTO_TLS = 205
TLS_REMOTE_HOSTNAME, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY = 85, 88, 89
PATIENCE_S = 60
BACKLOG = 1024
LOOPBACK = "127.0.0.1"


class Calls:
    """Times every call on its own."""

    def __init__(self, on: str) -> None:
        self._on = on
        self._ns: dict[str, list[int]] = defaultdict(list)

    def time(self, name: str, call: Callable[..., T], *arguments: Any) -> T:
        """Make one call."""
        begun = time.monotonic_ns()
        result = call(*arguments)
        self._ns[name].append(time.monotonic_ns() - begun)
        return result

    def print(self) -> None:
        """One JSON object for each kind of call."""
        for name, ns in self._ns.items():
            say({"on": self._on, "call": name, "ns": ns})


def say(message: dict[str, object]) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def plain_calls(count: int) -> None:
    """On sockets that are none of the boundary's business."""
    calls, no_delay = Calls("plain"), (socket.IPPROTO_TCP, socket.TCP_NODELAY)
    near, far = socket.socketpair()
    with near, far, socket.create_server((LOOPBACK, 0), backlog=BACKLOG) as listener:
        address = listener.getsockname()
        for _ in range(count):
            with calls.time("socket", socket.socket, socket.AF_INET, socket.SOCK_STREAM) as client:
                calls.time("setsockopt", client.setsockopt, *no_delay, 1)
                calls.time("getsockopt", client.getsockopt, *no_delay)
                calls.time("connect", client.connect, address)
                calls.time("accept", listener.accept)[0].close()
                calls.time("getsockname", client.getsockname)
                calls.time("write and read", write_and_read, near, far)
    calls.print()


def write_and_read(near: socket.socket, far: socket.socket) -> None:
    """One byte through a pair: two calls that no boundary may slow down."""
    near.send(b"+")
    far.recv(1)


def option_calls(name: bytes, count: int) -> None:
    """Without a connection, so that nobody is still busy with the end of the one before."""
    calls, option = Calls("secure"), (IPPROTO_TLS, TLS_REMOTE_HOSTNAME)
    for _ in range(count):
        with calls.time("socket", socket.socket, socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as client:
            calls.time("setsockopt TLS_REMOTE_HOSTNAME", client.setsockopt, *option, name)
            calls.time("getsockopt TLS_REMOTE_HOSTNAME", client.getsockopt, *option, 256)
    calls.print()


def client_calls(port: int, name: bytes, count: int) -> None:
    """As a client of the TLS server at ``port``."""
    calls = Calls("secure")
    for _ in range(count):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as client:
            client.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, name)
            calls.time("connect, handshake included", client.connect, (LOOPBACK, port))
            calls.time("getpeername", client.getpeername)
            if client.recv(1) != b"+":
                raise ConnectionError("the server did not greet")
    calls.print()


def server_calls(chain: bytes, key: bytes, count: int) -> None:
    """As a server, for ``count`` clients."""
    calls, accepted = Calls("secure"), []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as listener:
        listener.setsockopt(IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, chain)
        listener.setsockopt(IPPROTO_TLS, TLS_PRIVATE_KEY, key)
        listener.bind((LOOPBACK, 0))
        listener.listen(BACKLOG)
        say({"port": listener.getsockname()[1]})
        for _ in range(count):
            select.select([listener], [], [])
            connection, _address = calls.time("accept, peer ready", listener.accept)
            connection.sendall(b"+")
            accepted.append(connection)
        calls.print()
        for connection in accepted:
            connection.close()


def main() -> None:
    """Plain calls; secure ones unless the port is 0."""
    port, count = int(sys.argv[1]), int(sys.argv[5])
    name, chain, key = (text.encode() + b"\0" for text in sys.argv[2:5])
    signal.alarm(PATIENCE_S)
    plain_calls(count)
    if port:
        option_calls(name, count)
        client_calls(port, name, count)
        server_calls(chain, key, count)


if __name__ == "__main__":
    main()
