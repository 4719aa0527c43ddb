"""TLS sessions that an initiator can resume, in the memory of one worker.

A session is kept under everything that it was agreed on under: who may use it (*scope*), the peer's address, and all
settings of the connection, so that it is never resumed by a socket that would not have accepted the full handshake.
Each is given out once (RFC 8446 appendix C.4).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

from OpenSSL import SSL

_KEYS_KEPT = 1024
_SESSIONS_PER_KEY = 4


class SessionCache:
    """Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, deque[tuple[float, SSL.Session]]] = OrderedDict()

    def keep(self, key: Hashable, session: SSL.Session, until_s: float) -> None:
        """Keep a session until then; the newest few of each key, of the keys used last."""
        self._kept.setdefault(key, deque(maxlen=_SESSIONS_PER_KEY)).append((until_s, session))
        self._kept.move_to_end(key)
        if len(self._kept) > _KEYS_KEPT:
            self._kept.popitem(last=False)

    def take(self, key: Hashable, now_s: float) -> SSL.Session | None:
        """Give the newest session of a key away, None when there is none that is still good."""
        sessions = self._kept.get(key)
        while sessions:
            until_s, session = sessions.pop()
            if now_s < until_s:
                return session
        self._kept.pop(key, None)
        return None
