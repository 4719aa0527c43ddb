"""Names to addresses, for AF_HOSTNAME: the system's own resolver, in a thread."""

from __future__ import annotations

import errno
import socket

import trio

from ..errors import NetworkError
from ..sockets.addresses import Address


async def resolve_host(name: bytes, port: int) -> list[tuple[int, Address]]:
    """Return family and address of a name, best first (getaddrinfo(3), RFC 6724).

    Raises NetworkError: EHOSTUNREACH when the name is not known, EAGAIN when the resolver cannot say now.
    """
    text = name.rstrip(b"\0").decode("utf-8", "replace")
    try:
        found = await trio.socket.getaddrinfo(text, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        code = errno.EAGAIN if getattr(error, "errno", None) == socket.EAI_AGAIN else errno.EHOSTUNREACH
        raise NetworkError(f"cannot resolve {text}: {error}", code) from None
    return [(family, address) for family, _, _, _, address in found]
