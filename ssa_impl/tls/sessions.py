"""TLS sessions that an initiator can resume, as bytes: they are kept where all workers reach them.

A session is kept under everything that it was agreed on under: who may use it, the peer's address, and all settings of
the connection, so that it is never resumed by a socket that would not have accepted the full handshake.  Each is given
out once (RFC 8446 appendix C.4).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

from ..policy.model import Settings

DIGEST_BYTES = 32


def digest(scope: Hashable, address: tuple[object, ...], settings: Settings) -> bytes:
    """Return what sessions of such connections are kept under."""
    return hashlib.sha256(repr((scope, address)).encode() + _digest(settings)).digest()


@lru_cache(maxsize=512)
def _digest(settings: Settings) -> bytes:
    """Most connections have settings that another one had."""
    return hashlib.sha256(repr(settings).encode()).digest()


_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Resumable:
    """A session, and the peer's chain, which OpenSSL does not keep with it."""

    session: bytes
    chain_pem: bytes

    def to_bytes(self) -> bytes:
        return _LENGTH.pack(len(self.session)) + self.session + self.chain_pem

    @classmethod
    def from_bytes(cls, data: bytes) -> Resumable:
        end = _LENGTH.size + int.from_bytes(data[: _LENGTH.size], "little")
        return cls(data[_LENGTH.size : end], data[end:])
