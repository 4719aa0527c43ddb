"""The few ways in which the daemon waits for a socket: try first, wait only when the kernel says so."""

from __future__ import annotations

import os
import select
import socket

import trio


async def receive_some(source: socket.socket, size_bytes: int) -> bytes:
    """Return what is there, b"" at end of file.  OSError as the kernel says."""
    while True:
        try:
            data = source.recv(size_bytes)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(source)
        else:
            await trio.lowlevel.checkpoint()  # a fast peer must not keep the other connections waiting
            return data


async def send_all(sink: socket.socket, pending: list[memoryview]) -> None:
    """Send every piece, in order; what has been sent leaves the list, so a cancelled call can be taken up again.

    OSError as the kernel says.
    """
    while pending:
        try:
            sent = sink.sendmsg(pending, (), socket.MSG_NOSIGNAL)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sink)
        else:
            _drop(pending, sent)


def _drop(pending: list[memoryview], sent: int) -> None:
    while pending and sent >= len(pending[0]):
        sent -= len(pending.pop(0))
    if sent:
        pending[0] = pending[0][sent:]


async def connect(outer: socket.socket, address: tuple[object, ...]) -> None:
    """Connect a non-blocking TCP socket.  OSError as the kernel says."""
    try:
        outer.connect(address)
        return
    except BlockingIOError:
        pass
    await trio.lowlevel.wait_writable(outer)
    if code := outer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(code, os.strerror(code))


async def hung_up(end: socket.socket) -> None:
    """Return once the other side of a unix socket is closed altogether (every copy of it), however much is unread.

    End of file alone does not say so: it may be a shutdown(SHUT_WR).  An epoll instance that is asked for no event
    reports EPOLLHUP and EPOLLERR only, and can itself be waited for.
    """
    with select.epoll() as watch:
        watch.register(end, 0)
        await trio.lowlevel.wait_readable(watch.fileno())


def has_hung_up(end: socket.socket) -> bool:
    """Say whether the other side is closed altogether, now."""
    poll = select.poll()
    poll.register(end, 0)
    return bool(poll.poll(0))
