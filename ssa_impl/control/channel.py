"""The control channel's two ends: SOCK_SEQPACKET sockets that carry messages and, at most one at a time, a descriptor.

The boundary's end is a plain socket for its own event loop; the daemon's end waits in trio.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

import trio

from .codec import MAX_MESSAGE_BYTES, decode, encode
from .messages import Message

_BUFFER_BYTES = 212_992  # the kernel doubles it: one message of the largest size fits
_scratch = memoryview(bytearray(MAX_MESSAGE_BYTES + 1))
_ANCILLARY_BYTES = socket.CMSG_SPACE(4 * array.array("i").itemsize)


def default_path() -> Path:
    """Where ssad listens unless told otherwise: $SSAD_SOCKET, then the user's or the system's runtime directory."""
    if path := os.environ.get("SSAD_SOCKET"):
        return Path(path)
    if os.geteuid() != 0 and (runtime := os.environ.get("XDG_RUNTIME_DIR")):
        return Path(runtime) / "ssad" / "control.sock"
    return Path("/run/ssad/control.sock")


def dial(path: Path) -> socket.socket:
    """Open the boundary's end; OSError when no daemon listens there."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        end.connect(str(path))
    except BaseException:
        end.close()
        raise
    prepare(end)
    return end


def prepare(end: socket.socket) -> None:
    """Make room for the largest message, and never block on the other side."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    end.setblocking(False)


def send(end: socket.socket, message: Message, descriptors: Iterable[int] = ()) -> None:
    """Send one message now; OSError (EAGAIN too) when the other side is gone or does not read."""
    socket.send_fds(end, [encode(message)], list(descriptors), socket.MSG_NOSIGNAL)


def receive(end: socket.socket) -> tuple[Message, list[int]] | None:
    """Take one message and its descriptors, None at end of file; MalformedMessage closes what came along."""
    size, ancillary, _flags, _ = end.recvmsg_into([_scratch], _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
    descriptors = _descriptors(ancillary)
    if not size:
        close_all(descriptors)
        return None
    try:
        return decode(bytes(_scratch[:size])), descriptors
    except BaseException:
        close_all(descriptors)
        raise


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors that nobody asked for."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return found.tolist()


class DaemonChannel:
    """The daemon's end of one secure socket's channel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        prepare(end)

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
                await trio.lowlevel.wait_writable(self._end)
            except (ConnectionError, OSError):
                return None

    def close(self) -> None:
        """Hang up."""
        self._end.close()
