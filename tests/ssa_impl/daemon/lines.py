"""A relay between two socket pairs: the test plays the application at one end and the peer at the other."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import trio
import trio.testing

from ssa_impl.daemon.relay import Relay, Wire
from ssa_impl.errors import SsaError
from tests.ssa_impl.tls.peers import MemoryPeer, connected, everything


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


class Line:
    """One established connection, from the application to the peer."""

    def __init__(
        self, context: ssl.SSLContext | None, pair: tuple[socket.socket, socket.socket], clock: trio.testing.MockClock
    ) -> None:
        self.clock = clock
        self.engine, self.peer = connected(context)
        self.application, self.inner = socket.socketpair()
        self.outer, self.far = pair
        for end in (self.application, self.inner, self.outer, self.far):
            end.setblocking(False)
        self.peer.receive(everything(self.engine))
        self.engine.receive(self.peer.output())
        self.wire = Wire(self.outer, self.engine)
        self.relay = Relay(self.inner, self.wire, self.engine)
        self.ended = trio.Event()
        self.failure: SsaError | None = None

    async def run(self) -> None:
        """Run the relay, as the session does: what fails is remembered, and then both sockets are closed."""
        try:
            await self.relay.run()
        except SsaError as error:
            self.failure = error
        self.ended.set()

    def close(self) -> None:
        """Close whatever is still open."""
        for end in (self.application, self.inner, self.outer, self.far):
            end.close()

    # -- the peer

    async def say(self, data: bytes) -> None:
        """The peer sends plain text; waits until the wire has taken it."""
        self.peer.write(data)
        await self.send_out()

    async def bid_farewell(self) -> None:
        """The peer sends close_notify."""
        self.peer.close()
        await self.send_out()

    async def send_out(self) -> None:
        """Put on the wire what the peer's TLS has made."""
        await send_all(self.far, self.peer.output())

    async def hear(self, size: int) -> bytes:
        """The peer reads ``size`` bytes of plain text, fewer at the end."""
        data = self.peer.read()
        while len(data) < size and not self.peer.closed:
            ciphertext = await receive(self.far)
            assert ciphertext, "the wire ended without close_notify"
            self.peer.receive(ciphertext)
            data += self.peer.read()
        return data


async def receive(source: socket.socket, size: int = 65_536) -> bytes:
    """Wait for data; b"" at the end."""
    while True:
        try:
            return source.recv(size)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)


async def receive_exactly(source: socket.socket, size: int) -> bytes:
    """Wait for ``size`` bytes, fewer at the end."""
    data = bytearray()
    while len(data) < size and (piece := await receive(source)):
        data += piece
    return bytes(data)


async def send_all(sink: socket.socket, data: bytes) -> None:
    """Send everything, waiting where the kernel does not take it."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sink.send(rest) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sink)


def push(sink: socket.socket, data: bytes) -> int:
    """Send what the kernel takes now; return how much."""
    try:
        return sink.send(data)
    except BlockingIOError:
        return 0


Scene = Callable[[Line], Coroutine[Any, Any, None]]


def play(scene: Scene, *, context: ssl.SSLContext | None = None, tcp: bool = False) -> Line:
    """Run one scene on a fresh line, its relay running, under a clock that jumps over waiting; return the line."""
    line: list[Line] = []

    clock = trio.testing.MockClock(autojump_threshold=0.5 if tcp else 0.02)  # TCP has pauses of its own

    async def main() -> None:
        line.append(Line(context, tcp_pair() if tcp else socket.socketpair(), clock))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(line[0].run)
            with trio.fail_after(1_000_000):  # of the test's own time: whoever waits for ever fails at once
                await scene(line[0])
            nursery.cancel_scope.cancel()

    try:
        trio.run(main, clock=clock)
    finally:
        for made in line:
            made.close()
    return line[0]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail unless the body ends within that much of the test's own time."""
    with trio.fail_after(seconds):
        yield


__all__ = ["Line", "MemoryPeer", "Scene", "play", "push", "receive", "receive_exactly", "send_all", "within"]
