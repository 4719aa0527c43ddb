"""System calls as C programs make them, where Python's library would hide what matters."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_ROOM = 128

ERRNO_NAMES = {**errno.errorcode, errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN"}  # of two, the better known


def _result(value: int) -> int:
    if value < 0:
        code = ctypes.get_errno()
        raise OSError(code, ERRNO_NAMES[code])
    return value


def connect(s: socket.socket, address: bytes, length: int | None = None) -> None:
    """connect(2) with the bytes of a sockaddr."""
    _result(_libc.connect(s.fileno(), address, len(address) if length is None else length))


def accept(s: socket.socket, room: int | None = _ROOM, flags: int | None = None) -> tuple[int, bytes, int]:
    """accept(2), or accept4(2) when there are flags: descriptor, what came of the address, and its true length."""
    buffer, length = ctypes.create_string_buffer(_ROOM), ctypes.c_uint32(room or 0)
    pointers: list[Any] = [None, None] if room is None else [buffer, ctypes.byref(length)]
    descriptor = _libc.accept(s.fileno(), *pointers) if flags is None else _libc.accept4(s.fileno(), *pointers, flags)
    return _result(descriptor), buffer.raw[: min(room or 0, length.value)], length.value


def getname(s: socket.socket, room: int, *, peer: bool) -> tuple[bytes, int]:
    """getpeername(2) or getsockname(2) into a room of that size: the room, 0xEE where untouched, and the length."""
    call = _libc.getpeername if peer else _libc.getsockname
    buffer, length = ctypes.create_string_buffer(b"\xee" * _ROOM, _ROOM), ctypes.c_uint32(room)
    _result(call(s.fileno(), buffer, ctypes.byref(length)))
    return buffer.raw, length.value


def getsockopt(s: socket.socket, level: int, name: int, room: int) -> tuple[str, bytes, int]:
    """getsockopt(2): errno's name or "ok", the value, and the length that came back."""
    buffer, length = ctypes.create_string_buffer(max(room, 1)), ctypes.c_uint32(room & 0xFFFFFFFF)
    failed = _libc.getsockopt(s.fileno(), level, name, buffer, ctypes.byref(length))
    word = ERRNO_NAMES[ctypes.get_errno()] if failed else "ok"
    return word, buffer.raw[: max(0, min(room, length.value))], length.value


def get(s: socket.socket, level: int, name: int, room: int = 65_536) -> bytes:
    """getsockopt(2) with a room larger than Python's library allows."""
    word, value, _ = getsockopt(s, level, name, room)
    if word != "ok":
        raise OSError(getattr(errno, word), word)
    return value


def with_bad_pointer(call: str, s: socket.socket, *arguments: int) -> None:
    """Make a call with these arguments; an argument of -8 is a pointer to nowhere."""
    words = [ctypes.c_void_p(8) if argument == -8 else ctypes.c_long(argument) for argument in arguments]
    _result(getattr(_libc, call)(s.fileno(), *words))


def sockaddr(family: int, host: str, port: int) -> bytes:
    """Return a ``sockaddr_in`` or ``sockaddr_in6``."""
    raw = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H", port) + raw + bytes(8)
    return struct.pack("=H", family) + struct.pack("!HI", port, 0) + raw + bytes(4)


def sockaddr_host(name: bytes, port: int) -> bytes:
    """Return a ``sockaddr_host`` (in_tls.h)."""
    return struct.pack("=H", 715) + struct.pack("!H", port) + name.ljust(255, b"\0")


def bind(s: socket.socket, address: bytes) -> None:
    """bind(2) with the bytes of a sockaddr."""
    _result(_libc.bind(s.fileno(), address, len(address)))


def socket_(family: int, kind: int, protocol: int) -> int:
    """socket(2); Python's library would add SOCK_CLOEXEC."""
    return _result(_libc.socket(family, kind, protocol))
