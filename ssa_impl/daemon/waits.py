"""The few ways in which the daemon waits for a descriptor: try first, wait only when the kernel says so."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Callable

import trio

from ..administration.outlet import Outlet

_INT = struct.Struct("=i")


async def receive_into(source: socket.socket, room: memoryview, consume: Callable[[memoryview], None]) -> int:
    """Receive what is there and hand it to ``consume`` before anything else runs; return its size, 0 at end of file.

    A source that always has more gives the others a turn each time.  OSError as the kernel says.
    """
    received, waited = await receive_at_once(source, room, consume)
    if not waited:
        await trio.lowlevel.checkpoint()
    return received


async def receive_at_once(
    source: socket.socket, room: memoryview, consume: Callable[[memoryview], None]
) -> tuple[int, bool]:
    """As :func:`receive_into`, but nothing else has run since ``consume``; return also whether there was a wait.

    If there was none, the caller owes the others a turn.
    """
    waited = False
    while True:
        try:
            received = source.recv_into(room)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)
            waited = True
            continue
        consume(room[:received])
        return received, waited


class Turn:
    """Who may send on one wire: one task after the other, in the order in which they came.

    A trio.Lock does more, for a price that is paid several times in each connection: it knows its owner.
    """

    def __init__(self) -> None:
        self.taken = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def take(self) -> None:
        """Wait for one's turn; when nobody has it, nothing else runs."""
        if self.taken:
            await self._waiting.park()  # whoever gives it up passes it on
        self.taken = True

    def give_up(self) -> None:
        """Let the next one have it."""
        self.taken = bool(self._waiting.unpark())


def send_now(sink: socket.socket, data: memoryview) -> int:
    """Send what the kernel takes at once; return how much.  OSError as the kernel says."""
    try:
        return sink.send(data, socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return 0


class Rest:
    """What the kernel has not taken yet; a cancelled send can be taken up again."""

    def __init__(self, data: bytes | memoryview) -> None:
        self.pending = memoryview(data)


async def send_rest(sink: socket.socket, rest: Rest) -> None:
    """Send on until nothing is left.  OSError as the kernel says."""
    while rest.pending:
        await trio.lowlevel.wait_writable(sink)
        rest.pending = rest.pending[send_now(sink, rest.pending) :]


async def send_all(sink: socket.socket, data: memoryview) -> None:
    """Send everything; what the kernel does not take at once is copied before anything else runs."""
    if (sent := send_now(sink, data)) < len(data):
        await send_rest(sink, Rest(bytes(data[sent:])))


def unacknowledged_bytes(sink: socket.socket) -> int:
    """Return how much of what was sent the other side has not taken yet (SIOCOUTQ, tcp(7), unix(7))."""
    size: int = _INT.unpack(fcntl.ioctl(sink, termios.TIOCOUTQ, bytes(_INT.size)))[0]
    return size


async def connect(outer: socket.socket, address: tuple[object, ...]) -> None:
    """Connect a non-blocking TCP socket.  OSError as the kernel says."""
    try:
        outer.connect(address)
    except BlockingIOError:
        await trio.lowlevel.wait_writable(outer)
    if code := outer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


async def hung_up(end: socket.socket) -> None:
    """Return once the other side of a unix socket is closed altogether (every copy of it), however much is unread.

    End of file alone does not say so: it may be a shutdown(SHUT_WR).  An epoll instance that is asked for no event
    reports EPOLLHUP and EPOLLERR only, and can itself be waited for.
    """
    if has_hung_up(end):
        return
    with select.epoll() as watch:
        watch.register(end, 0)
        await trio.lowlevel.wait_readable(watch.fileno())


def has_hung_up(end: socket.socket) -> bool:
    """Say whether the other side is closed altogether, now."""
    poll = select.poll()
    poll.register(end, 0)
    return bool(poll.poll(0))


def attend(outlet: Outlet) -> bool:
    """Let what the log keeps be handed over as soon as there is room; False outside of trio's thread."""
    try:
        trio.lowlevel.spawn_system_task(_hand_over, outlet)
    except RuntimeError:
        return False
    return True


async def _hand_over(outlet: Outlet) -> None:
    try:
        while outlet.is_full:
            await trio.lowlevel.wait_writable(outlet.descriptor)
            outlet.hand_over()
    finally:
        outlet.is_attended = False
