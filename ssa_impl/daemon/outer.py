"""The TCP socket towards the peer, with all that the application asked of it.

It exists from socket() on, so that the kernel itself answers for whatever concerns the wire: options, bind, names.
After a failed connect it is made anew, with the same options and the same binding.

Nagle's algorithm is off unless the application asks for it: the end of the handshake and the first request are two
small segments in a row, and the second would wait for the first one's acknowledgement.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import struct

from ..errors import ApplicationError, NetworkError
from ..sockets.addresses import Address
from .waits import connect

_RESET = struct.pack("=ii", 1, 0)
"""SO_LINGER of a connection whose peer was still sending: reading after a shutdown opens no window (tcp(7)), so that
without a reset it would wait for one until the kernel forgets the connection"""


_LEVELS = frozenset({socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6})
_SOCKET_NAMES = frozenset(
    {socket.SO_KEEPALIVE, socket.SO_REUSEADDR, socket.SO_REUSEPORT, socket.SO_PRIORITY, socket.SO_DOMAIN}
)
"""of SOL_SOCKET; others hold an address or a descriptor, which would be the daemon's (SO_ATTACH_FILTER, SO_ATTACH_BPF),
or concern the descriptor that the application has"""
_TCP_ZEROCOPY_RECEIVE = 35
"""names places in the memory of who reads it, for the kernel to write to (linux/tcp.h)"""
_libc = ctypes.CDLL(None, use_errno=True)


class Outer:
    """One TCP socket that can be renewed."""

    def __init__(self, family: int, existing: socket.socket | None = None) -> None:
        """``existing``: a connected one, to be taken over as it is."""
        self.family = family
        self._options: dict[tuple[int, int], bytes] = {}
        self._bound: Address | None = None
        self.socket = self._create() if existing is None else existing

    def set_option(self, level: int, name: int, value: bytes) -> None:
        """Apply an option of another level than TLS.  Raises ApplicationError (ENOPROTOOPT), NetworkError."""
        self._require(level, name)
        try:
            self.socket.setsockopt(level, name, value)
        except OSError as error:
            raise NetworkError.from_os("setsockopt", error) from None
        self._options[level, name] = value

    def get_option(self, level: int, name: int, size_bytes: int) -> bytes:
        """Read an option of another level than TLS.  Raises as :meth:`set_option`."""
        self._require(level, name)
        try:
            return _get_option(self.socket, level, name, max(1, min(size_bytes, 1024)))[:size_bytes]
        except OSError as error:
            raise NetworkError.from_os("getsockopt", error) from None

    @staticmethod
    def _require(level: int, name: int) -> None:
        known = level in _LEVELS or (level == socket.SOL_SOCKET and name in _SOCKET_NAMES)
        if not known or (level, name) == (socket.IPPROTO_TCP, _TCP_ZEROCOPY_RECEIVE):
            raise ApplicationError(f"option {name} of level {level} is none of the wire's", errno.ENOPROTOOPT)

    def bind(self, address: Address) -> None:
        """Bind to a local address."""
        try:
            self.socket.bind(address)
        except OSError as error:
            raise NetworkError.from_os("bind", error) from None
        self._bound = self.socket.getsockname()

    def recall_binding(self) -> None:
        """Another worker may have bound this socket, which is not connected."""
        try:
            name = self.socket.getsockname()
        except OSError:
            return
        self._bound = name if name[1] else None

    def listen(self) -> None:
        """Listen, at a port of the kernel's choice when none was bound."""
        try:
            self.socket.listen(socket.SOMAXCONN)
        except OSError as error:
            raise NetworkError.from_os("listen", error) from None

    async def connect(self, address: Address) -> None:
        """Connect; on failure the socket is as new."""
        if self._bound is not None and self.socket.getsockname()[1] != self._bound[1]:
            self.bind(self._bound)
        try:
            await connect(self.socket, address)
        except OSError as error:
            self.renew()
            raise NetworkError.from_os(f"connect to {address[0]} port {address[1]}", error) from None

    def use_family(self, family: int) -> None:
        """Go on with a socket of this family: the resolver may know the peer by the other one only."""
        if family != self.family:
            self.family, self._bound = family, None
            self.renew()

    def renew(self) -> None:
        """Drop the connection and start over with the same options.

        The old connection may still hold the port that was bound; then the next connect binds it, or says that.
        """
        with contextlib.suppress(OSError):  # whoever has a copy (an upgrade) neither sends nor reads in plain text
            self.socket.shutdown(socket.SHUT_RDWR)
            while self.socket.recv(65_536):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()
        self.socket = self._create()
        for (level, name), value in self._options.items():
            with contextlib.suppress(OSError):  # an option of the other family
                self.socket.setsockopt(level, name, value)
        if self._bound is not None:
            with contextlib.suppress(NetworkError):
                self.bind(self._bound)

    def name(self, peer: bool) -> Address:
        """Return the local or the peer's address."""
        try:
            address: Address = self.socket.getpeername() if peer else self.socket.getsockname()
        except OSError as error:
            raise NetworkError.from_os("getpeername" if peer else "getsockname", error) from None
        return address

    def _create(self) -> socket.socket:
        try:
            created = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise NetworkError.from_os("socket", error) from None
        return created


def _get_option(wire: socket.socket, level: int, name: int, size_bytes: int) -> bytes:
    """As ``wire.getsockopt()``, into a room of zeros.  OSError as the kernel says.

    For some options the kernel reads what is in the room; Python's own is whatever other connections have left there.
    """
    room, size = ctypes.create_string_buffer(size_bytes), ctypes.c_uint(size_bytes)
    if _libc.getsockopt(wire.fileno(), level, name, room, ctypes.byref(size)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return room.raw[: size.value]
