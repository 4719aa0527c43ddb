"""Those that wait for somebody else to say something, in a place for so many: the oldest gives way to the newest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Crowd:
    """Tasks of one kind and one owner."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, trio.CancelScope] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @contextmanager
    def join(self, most: int) -> Iterator[trio.CancelScope]:
        """Wait inside; who has to give way is cancelled, and its scope says so afterwards."""
        while len(self._waiting) >= most:
            self._waiting.popitem(last=False)[1].cancel()
        with trio.CancelScope() as scope:
            self._waiting[id(scope)] = scope
            try:
                yield scope
            finally:
                self._waiting.pop(id(scope), None)
