"""The unix connection between the application's socket and the daemon.

The application's descriptor is a unix stream socket that stays unconnected until there is something to connect it to:
before that, read, write and poll on it answer as on an unconnected TCP socket.  *Tying* connects it to this worker's
private listener.  The worker itself makes that call, on a descriptor that the boundary passed to it, and takes only
connections that the kernel says it made itself (SO_PEERCRED): nobody else can become the application's peer.

A non-blocking connect ties at once, and fills the application's send buffer: the descriptor is then neither writable
nor readable.  Draining it makes it writable, with the edge that EPOLLET needs; closing with the junk unread makes it
report an error.

A listener is the application's own descriptor too: the worker binds it to a name in the daemon's directory, where
nobody else can reach it, and connects to it once for each authenticated peer.  It is readable exactly when one waits.
The kernel does not tell when the last copy of a listener is closed, by close, exit or SIGKILL in whatever process, but
it says whether one is left when it is asked; so the worker that has its channel looks from time to time.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

import trio

from ..control.greeting import encode_greeting
from ..errors import ApplicationError, DaemonError
from .waits import receive_into

_UCRED = struct.Struct("iII")
_JUNK = bytes(65_536)
_FULL_QUEUE_S = 0.005
_LOOK_S = 0.2


def inner_path(runtime: Path, pid: int) -> Path:
    """Return where a worker's private listener is."""
    return runtime / f"worker-{pid}.inner"


class InnerListener:
    """A worker's private listener; its directory belongs to the daemon's user alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._listener.setblocking(False)

    def tie(self, application: socket.socket) -> socket.socket:
        """Connect the application's socket and return the daemon's end.  Raises DaemonError."""
        try:
            application.connect(str(self._path))
            while True:
                end, _ = self._listener.accept()
                end.setblocking(False)
                if _peer_pid(end) == os.getpid():
                    return end
                end.close()
        except OSError as error:
            code = errno.EISCONN if error.errno == errno.EISCONN else errno.ENOBUFS
            raise DaemonError(f"cannot reach the application's socket: {error.strerror}", code) from None

    def close(self) -> None:
        """Stop listening and remove the name."""
        self._listener.close()
        self._path.unlink(missing_ok=True)


class ApplicationListener:
    """The application's descriptor as a listener of its own, at a name in the daemon's directory."""

    _numbers = itertools.count(1)

    def __init__(self, application: socket.socket, directory: Path, backlog: int) -> None:
        self.path = directory / f"{os.getpid()}-{next(self._numbers)}"
        self.inode = inode_of(application.fileno())
        try:
            application.bind(str(self.path))
            application.listen(backlog)
        except OSError as error:
            raise DaemonError(f"cannot listen on the application's socket: {error.strerror}", errno.EINVAL) from None

    async def closed(self) -> None:
        """Return once no process has the descriptor open any more, a fifth of a second later at most."""
        while is_open(self.path):
            await trio.sleep(_LOOK_S)

    def close(self) -> None:
        """Remove the name: nobody can be presented to the application any more."""
        self.path.unlink(missing_ok=True)


def is_open(path: Path | str) -> bool:
    """Whether some process still has the listener at ``path`` open.

    Asked by connecting a socket of another kind, which never comes to pass: the kernel says EPROTOTYPE of a listener,
    and ECONNREFUSED of a name whose socket is closed (unix(7)).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK) as probe:
        return probe.connect_ex(str(path)) not in {errno.ECONNREFUSED, errno.ENOENT}


async def present(path: str, address: bytes, channel: socket.socket) -> socket.socket:
    """Put a new connection into the application's queue, greeting first; return the daemon's end.

    Waits while the queue is full.  Raises OSError when the application listens no more.
    """
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        while True:
            try:
                end.connect(path)
                break
            except BlockingIOError:  # the kernel does not tell when there is room again (unix(7))
                await trio.sleep(_FULL_QUEUE_S)
        socket.send_fds(end, [encode_greeting(address)], [channel.fileno()], socket.MSG_NOSIGNAL)
    except BaseException:
        end.close()
        raise
    return end


def _peer_pid(end: socket.socket) -> int:
    pid: int = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[0]
    return pid


def peer_uid(end: socket.socket) -> int:
    """Return whose the other end of a unix socket is: who connected, listened, or made the pair (SO_PEERCRED)."""
    uid: int = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
    return uid


def are_streams(descriptors: Iterable[int], *families: int) -> bool:
    """Whether what came along are stream sockets of these families: a program may send anything."""
    for descriptor in descriptors:
        try:
            found = socket.socket(fileno=descriptor)
        except OSError:
            return False
        fits = found.type == socket.SOCK_STREAM and found.family in families
        found.detach()
        if not fits:
            return False
    return True


def inode_of(application: int) -> int:
    """Return the inode of an application's descriptor, 0 when it is no stream socket.

    Of files nothing is asked: a file system may be anybody's (fuse(4)), and not answer.
    """
    if not are_streams([application], socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return 0
    return os.fstat(application).st_ino


def fill(application: socket.socket) -> int:
    """Fill the application's send buffer so that it polls unwritable; return how many bytes it took.

    Raises ApplicationError(EINVAL) when it cannot be filled: it is no connection to us, and somebody reads at its end.
    """
    room_bytes = application.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    filled = 0
    try:
        while filled <= 2 * room_bytes:
            filled += application.send(_JUNK, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return filled
    except OSError as error:
        raise ApplicationError(f"cannot write to the application's socket: {error.strerror}") from None
    raise ApplicationError("the application's socket is connected to somebody else")


async def drain(end: socket.socket, filled: int) -> None:
    """Read exactly the junk again: the application's socket becomes writable."""
    with trio.CancelScope(shield=True):
        room = memoryview(bytearray(len(_JUNK)))
        while filled and (taken := await receive_into(end, room[:filled], lambda junk: None)):
            filled -= taken
