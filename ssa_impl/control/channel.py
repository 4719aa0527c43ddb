"""The control channel: SOCK_SEQPACKET sockets that carry messages, and with a message a few descriptors.

The boundary's end is a plain socket for its own event loop; the daemon's end, which waits in trio, is
:class:`~ssa_impl.control.daemon_channel.DaemonChannel`.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from .codec import MAX_MESSAGE_BYTES, decode, encode
from .messages import Message

_BUFFER_BYTES = 212_992  # the kernel doubles it: one message of the largest size fits
_scratch = memoryview(bytearray(MAX_MESSAGE_BYTES + 1))
_ANCILLARY_BYTES = socket.CMSG_SPACE(4 * array.array("i").itemsize)


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


def receive_bytes(end: socket.socket, size_bytes: int, count: int) -> tuple[bytes, list[int]]:
    """Receive bytes and at most ``count`` descriptors, which are closed on exec.  OSError as the kernel says.

    socket.recv_fds() of Python's library ignores its flags.
    """
    room = socket.CMSG_SPACE(count * array.array("i").itemsize)
    data, ancillary, _flags, _ = end.recvmsg(size_bytes, room, socket.MSG_CMSG_CLOEXEC)
    return data, _descriptors(ancillary)


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
