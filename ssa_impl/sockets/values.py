"""Option values: bytes of setsockopt() to Python, Python to bytes of getsockopt().

Everything that does not fit its :class:`~ssa_impl.abi.Kind` raises ApplicationError(EINVAL).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import partial

from ..abi import MAX_HOSTNAME_BYTES, NAME_PREFIX, Kind
from ..errors import ApplicationError
from ..names import is_ip_address
from .credentials import read_chain, read_key

Value = str | int | bytes | tuple[str, ...]

_INT = struct.Struct("=i")
_ULONG = struct.Struct("=Q")
_LONG = struct.Struct("=q")
_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
WIRE_VERSIONS = (0x0303, 0x0304)
_MAX_NAMES_BYTES = 32_768  # half of what a ClientHello's extensions may have in all (RFC 8446 section 4.2)


def parse(kind: Kind, data: bytes) -> Value:
    """Read the value of one setsockopt call (a file's content for a path; the boundary bounds what crosses it)."""
    return _PARSERS[kind](data)


def serialize(kind: Kind, value: Value) -> bytes:
    """Write the value that getsockopt gives; strings end with a NUL, which their length counts."""
    if isinstance(value, int):
        return {Kind.ULONG: _ULONG, Kind.SECONDS: _LONG}.get(kind, _INT).pack(value)
    if isinstance(value, tuple):
        value = ",".join(value)
    return value if isinstance(value, bytes) else value.encode() + b"\0"


def _text(data: bytes) -> str:
    body, nul, rest = data.partition(b"\0")
    if not nul or rest.strip(b"\0"):
        raise ApplicationError("the value must be one NUL-terminated string whose length counts the NUL")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise ApplicationError("the value is not UTF-8") from None


def _hostname(data: bytes) -> str:
    if len(data) > MAX_HOSTNAME_BYTES:
        raise ApplicationError(f"a hostname may have {MAX_HOSTNAME_BYTES} bytes with its NUL, not {len(data)}")
    name = _text(data)
    if is_ip_address(name):
        return name
    labels = name.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ApplicationError("not a hostname: labels of letters, digits and inner hyphens, joined by dots")
    return name


def _names(data: bytes) -> tuple[str, ...]:
    if len(data) > _MAX_NAMES_BYTES:
        raise ApplicationError(f"a list of names may have {_MAX_NAMES_BYTES} bytes, not {len(data)}")
    text = _text(data)
    names = tuple(text.split(",")) if text else ()
    if not all(0 < len(name.encode()) < 256 and name.isascii() and name.isprintable() for name in names):
        raise ApplicationError("a list of names separated by commas, each 1 to 255 printable ASCII characters")
    return names


def _integer(data: bytes) -> int:
    if len(data) != _INT.size:
        raise ApplicationError(f"the value must be an int of {_INT.size} bytes, not {len(data)}")
    number: int = _INT.unpack(data)[0]
    return number


def _flag(data: bytes) -> int:
    if (number := _integer(data)) not in {0, 1}:
        raise ApplicationError(f"the value must be 0 or 1, not {number}")
    return number


def _version(data: bytes) -> int:
    if (number := _integer(data)) not in WIRE_VERSIONS:
        raise ApplicationError(f"the version must be 0x0303 (TLS 1.2) or 0x0304 (TLS 1.3), not {number:#06x}")
    return number


def _cipher(data: bytes) -> str:
    if not (name := _text(data)) or not name.isascii() or not name.isprintable():
        raise ApplicationError("the value must be the name of one cipher")
    return name


def _seconds(data: bytes) -> int:
    if len(data) != _LONG.size:
        raise ApplicationError(f"the value must be a long of {_LONG.size} bytes, not {len(data)}")
    if (number := int(_LONG.unpack(data)[0])) < 0:
        raise ApplicationError(f"the value must not be negative, as {number} is")
    return number


def _ulong(data: bytes) -> int:
    if len(data) != _ULONG.size:
        raise ApplicationError(f"the value must be an unsigned long of {_ULONG.size} bytes, not {len(data)}")
    number: int = _ULONG.unpack(data)[0]
    return number


def _by_name_or(read: Callable[[bytes], bytes], data: bytes) -> str | bytes:
    """Return the name of a key of the policy, or what ``read`` makes of a content."""
    if not data.startswith(NAME_PREFIX):
        return read(data)
    if not _KEY_NAME.fullmatch(name := _text(data)[len(NAME_PREFIX) :]):
        raise ApplicationError("a key's name has 1 to 64 letters, digits, dots, hyphens and underscores")
    return name


_PARSERS: dict[Kind, Callable[[bytes], Value]] = {
    Kind.HOSTNAME: _hostname,
    Kind.STRING: _text,
    Kind.NAMES: _names,
    Kind.PEM: bytes,
    Kind.CHAIN: partial(_by_name_or, read_chain),
    Kind.KEY: partial(_by_name_or, read_key),
    Kind.CIPHER: _cipher,
    Kind.SECONDS: _seconds,
    Kind.FLAG: _flag,
    Kind.VERSION: _version,
    Kind.ULONG: _ulong,
}
