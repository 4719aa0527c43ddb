"""TLS sessions that initiators can resume: the parent keeps them, so any worker can serve the next connection.

The worker's side asks, and waits for a moment; without an answer the handshake is a full one.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Awaitable, Callable

import trio

from ..tls.sessions import DIGEST_BYTES, Resumable, SessionCache
from .mail import MAX_POST_BYTES, Post

_KEEP = struct.Struct(f"<{DIGEST_BYTES}sd")
_TAKE = struct.Struct(f"<{DIGEST_BYTES}sI")
_TAKEN = struct.Struct("<I")
_ROOM_BYTES = MAX_POST_BYTES - 64
_PATIENCE_S = 1.0


class Sessions:
    """A worker's side."""

    def __init__(self, post: Callable[[Post, bytes], Awaitable[None]], start: Callable[..., None]) -> None:
        """``post`` sends to the parent; ``start`` runs something beside."""
        self._post = post
        self._start = start
        self._numbers = itertools.cycle(range(1 << 32))
        self._asked: dict[int, trio.Event] = {}
        self._given: dict[int, bytes] = {}

    def keep(self, key: bytes, session: Resumable, until_s: float) -> None:
        """Keep a session until then (CLOCK_MONOTONIC), unless it is too large to be sent."""
        content = session.to_bytes()
        if len(content) <= _ROOM_BYTES:
            self._start(self._post, Post.KEEP, _KEEP.pack(key, until_s) + content)

    async def take(self, key: bytes) -> Resumable | None:
        """Ask for a session; None when there is none."""
        number = next(self._numbers)
        self._asked[number] = trio.Event()
        await self._post(Post.TAKE, _TAKE.pack(key, number))
        with trio.move_on_after(_PATIENCE_S):
            await self._asked[number].wait()
        del self._asked[number]
        given = self._given.pop(number, b"")
        return Resumable.from_bytes(given) if given else None

    def taken(self, body: bytes) -> None:
        """The parent's answer."""
        (number,) = _TAKEN.unpack_from(body)
        if number in self._asked:
            self._given[number] = body[_TAKEN.size :]
            self._asked[number].set()


def serve(cache: SessionCache, message: bytes, now_s: float) -> bytes:
    """In the parent: do what a worker's message says; return the answer, empty for none."""
    kind, body = Post(message[:1]), message[1:]
    if kind is Post.KEEP:
        key, until_s = _KEEP.unpack_from(body)
        cache.keep(key, body[_KEEP.size :], until_s)
        return b""
    key, number = _TAKE.unpack_from(body)
    return Post.TAKEN.value + _TAKEN.pack(number) + cache.take(key, now_s)
