"""TLS sessions that an initiator can resume, as bytes: they are kept where all workers reach them.

A session is kept under everything that it was agreed on under: who may use it, the peer's address, and all settings of
the connection, so that it is never resumed by a socket that would not have accepted the full handshake.  Each is given
out once (RFC 8446 appendix C.4).
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass

from ..policy.model import Settings

DIGEST_BYTES = 32
_KEYS_KEPT = 4096
_SESSIONS_PER_KEY = 8
_BYTES_KEPT = 64 << 20
"""peers say how large a session is: it has their chain"""


def digest(scope: Hashable, address: tuple[object, ...], settings: Settings) -> bytes:
    """Return what sessions of such connections are kept under."""
    anchors = hashlib.sha256(settings.anchors_pem or b"").digest()
    return hashlib.sha256(repr((scope, address, anchors, settings)).encode()).digest()


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
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        return cls(data[_LENGTH.size : end], data[end:])


class SessionCache:
    """Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, deque[tuple[float, bytes]]] = OrderedDict()
        self._bytes = 0

    def keep(self, key: bytes, session: bytes, until_s: float) -> None:
        """Keep a session until then; the newest few of each key, of the keys used last."""
        sessions = self._kept.setdefault(key, deque())
        sessions.append((until_s, session))
        self._bytes += len(session)
        self._kept.move_to_end(key)
        if len(sessions) > _SESSIONS_PER_KEY:
            self._bytes -= len(sessions.popleft()[1])
        while len(self._kept) > _KEYS_KEPT or self._bytes > _BYTES_KEPT:
            self._bytes -= sum(len(session) for _, session in self._kept.popitem(last=False)[1])

    def take(self, key: bytes, now_s: float) -> bytes:
        """Give the newest session of a key away, b"" when there is none that is still good."""
        sessions = self._kept.get(key)
        while sessions:
            until_s, session = sessions.pop()
            self._bytes -= len(session)
            if now_s < until_s:
                return session
        self._kept.pop(key, None)
        return b""
