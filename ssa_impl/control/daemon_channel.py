"""The daemon's end of a control channel: the same messages, waited for in trio.

It has a module of its own so that boundaries, which start with every program, need not import trio.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio

from .channel import prepare, receive, send
from .messages import Message


class DaemonChannel:
    """The daemon's end of one secure socket's channel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._turn = trio.Lock()
        prepare(end)

    def fileno(self) -> int:
        return self._end.fileno()

    async def receive(self) -> tuple[Message, list[int]] | None:
        """Wait for the next message; None when the boundary has hung up.  Raises MalformedMessage."""
        while True:
            try:
                return receive(self._end)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._end)
            except ConnectionError:
                return None

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Answer; a boundary that is gone needs no answer."""
        while True:
            try:
                return send(self._end, message, descriptors)
            except BlockingIOError:
                async with self._turn:  # one task at a time can wait for a socket
                    await trio.lowlevel.wait_writable(self._end)
            except (ConnectionError, OSError):
                return None

    def close(self) -> None:
        """Hang up."""
        self._end.close()
