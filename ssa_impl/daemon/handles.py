"""What TLS_CONTEXT handles stand for: the options of the sockets that they were read from, also when those are closed.

No user's flood drives out another's handles: when there is no room, who has most gives way, the oldest handle first.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from .relocation import Option, size_bytes

_MOST_BYTES = 64 << 20
_LEAST_BYTES = 16 << 10
"""what a handle counts as, however few options it stands for"""


@dataclass(frozen=True)
class SharedContext:
    """What one handle stands for; ``uid`` owns it, and alone may use it."""

    uid: int
    options: tuple[Option, ...]

    @property
    def counted_bytes(self) -> int:
        """How much of the room it takes."""
        return _LEAST_BYTES + sum(map(size_bytes, self.options))


class Handles:
    """Those of one worker."""

    def __init__(self) -> None:
        self._of: dict[int, OrderedDict[int, SharedContext]] = {}
        self._bytes: Counter[int] = Counter()

    def __iter__(self) -> Iterator[tuple[int, SharedContext]]:
        return iter([pair for own in self._of.values() for pair in own.items()])

    def keep(self, handle: int, context: SharedContext) -> None:
        """Remember what a handle stands for from now on."""
        self._forget(context.uid, handle)
        self._of.setdefault(context.uid, OrderedDict())[handle] = context
        self._bytes[context.uid] += context.counted_bytes
        while self._bytes.total() > _MOST_BYTES:
            ((richest, _),) = self._bytes.most_common(1)
            self._forget(richest, next(iter(self._of[richest])))

    def get(self, handle: int, uid: int) -> SharedContext | None:
        """Return what a handle stands for, None when it is not this user's."""
        return self._of[uid].get(handle) if uid in self._of else None

    def _forget(self, uid: int, handle: int) -> None:
        if (context := self.get(handle, uid)) is not None:
            del self._of[uid][handle]
            self._bytes[uid] -= context.counted_bytes
            if not self._of[uid]:
                del self._of[uid], self._bytes[uid]
