"""How an accepted connection introduces itself to the boundary, before the application gets it.

The application's listening descriptor is a unix stream listener that only the daemon can reach.  For each peer that has
been authenticated the daemon connects to it, and sends one greeting: the peer's address, with the new socket's control
channel attached.  The boundary's accept takes exactly these bytes off the connection; what follows is the peer's plain
text.

    u16 length | u16 0 | 28 bytes of sockaddr, ``length`` of them meant        (host byte order)
"""

from __future__ import annotations

import socket
import struct

from .channel import close_all, receive_bytes
from .codec import MalformedMessage

_GREETING = struct.Struct("=HH28s")
GREETING_BYTES = _GREETING.size


def encode_greeting(address: bytes) -> bytes:
    """Return the greeting of a peer with this ``sockaddr`` (at most 28 bytes)."""
    return _GREETING.pack(len(address), 0, address)


def decode_greeting(data: bytes) -> bytes:
    """Return the peer's ``sockaddr``.  Raises MalformedMessage."""
    if len(data) != GREETING_BYTES:
        raise MalformedMessage(f"{len(data)} bytes are no greeting")
    length, zero, address = _GREETING.unpack(data)
    if zero or length > len(address):
        raise MalformedMessage("not a greeting")
    return bytes(address[:length])


def take_greeting(accepted: socket.socket) -> tuple[bytes, socket.socket]:
    """Read the greeting off a connection that was just accepted: the peer's address and the control channel.

    The daemon sends it right after connecting, so this waits for a moment at most.  Raises MalformedMessage, OSError
    (EAGAIN when a receive time-out is set and passes).
    """
    data, descriptors = receive_bytes(accepted, GREETING_BYTES, 1)
    try:
        while 0 < len(data) < GREETING_BYTES and (more := accepted.recv(GREETING_BYTES - len(data))):
            data += more
        if len(descriptors) != 1:
            raise MalformedMessage("a greeting without a control channel")
        return decode_greeting(data), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptors[0])
    except BaseException:
        close_all(descriptors)
        raise
