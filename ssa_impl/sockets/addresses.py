"""The application's ``struct sockaddr``, both ways (ip(7), ipv6(7))."""

from __future__ import annotations

import errno
import socket
import struct
from typing import Any

from ..abi import AF_HOSTNAME
from ..errors import ApplicationError

_FAMILY = struct.Struct("=H")
_IPV4 = struct.Struct("!H4s")  # port, address; then 8 bytes of padding
_IPV6 = struct.Struct("!HI16s")  # port, flow, address; then the scope in host order
_SCOPE = struct.Struct("=I")
_FLOW_LABEL = 0xFFFFF  # what Python takes; the kernel looks at no more, and at that only when asked to (ipv6(7))
_HOST = struct.Struct("!H255s")  # port, name

_LEAST_BYTES = {int(socket.AF_INET): 16, int(socket.AF_INET6): 24}  # the kernel takes an IPv6 address without its scope

Address = tuple[Any, ...]  # what Python's socket module takes for the family


def parse_sockaddr(family: int, data: bytes) -> Address:
    """Return the address in ``data`` for a socket of ``family``.

    Raises ApplicationError: EINVAL when too short, EAFNOSUPPORT when of another family, as the kernel does.
    """
    if len(data) < _FAMILY.size:
        raise ApplicationError("the address is too short", errno.EINVAL)
    if _FAMILY.unpack_from(data)[0] != family:
        raise ApplicationError("the address is of another family than the socket", errno.EAFNOSUPPORT)
    if len(data) < _LEAST_BYTES[family]:
        raise ApplicationError("the address is too short", errno.EINVAL)
    if family == socket.AF_INET:
        port, raw = _IPV4.unpack_from(data, 2)
        return socket.inet_ntop(family, raw), port
    port, flow, raw = _IPV6.unpack_from(data, 2)
    (scope,) = _SCOPE.unpack(data[24:28].ljust(_SCOPE.size, b"\0"))
    return socket.inet_ntop(family, raw), port, flow & _FLOW_LABEL, scope


def parse_sockaddr_host(data: bytes) -> tuple[bytes, int] | None:
    """Return name (with its NUL) and port of a ``struct sockaddr_host``, None for an address of another family.

    Raises ApplicationError(EINVAL) when it is too short, or holds no name.
    """
    if len(data) < _FAMILY.size or _FAMILY.unpack_from(data)[0] != AF_HOSTNAME:
        return None
    if len(data) < _FAMILY.size + _HOST.size:
        raise ApplicationError("the address is too short", errno.EINVAL)
    port, name = _HOST.unpack_from(data, _FAMILY.size)
    text, nul, _ = name.partition(b"\0")
    if not text or not nul:
        raise ApplicationError("the address holds no NUL-terminated name", errno.EINVAL)
    return text + nul, port


def build_sockaddr(family: int, address: Address) -> bytes:
    """Return the ``sockaddr`` of a Python address: 16 bytes for IPv4, 28 for IPv6."""
    raw = socket.inet_pton(family, address[0].partition("%")[0])
    if family == socket.AF_INET:
        return _FAMILY.pack(family) + _IPV4.pack(address[1], raw) + bytes(8)
    return _FAMILY.pack(family) + _IPV6.pack(address[1], address[2], raw) + _SCOPE.pack(address[3])
