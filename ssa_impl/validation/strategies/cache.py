"""Answers kept for as long as they hold, the ones used last."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from .answers import SKEW

T = TypeVar("T")


class Cache(Generic[T]):
    """At most so many entries; ``until`` and ``now`` are aware times.

    The clock may be moved: what was kept when it showed a later time is forgotten, or it would outlive its end.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._kept: OrderedDict[Hashable, tuple[datetime.datetime, datetime.datetime, T]] = OrderedDict()

    def keep(self, key: Hashable, value: T, until: datetime.datetime, now: datetime.datetime) -> None:
        self._kept[key] = (now, until, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries:
            self._kept.popitem(last=False)

    def get(self, key: Hashable, now: datetime.datetime) -> T | None:
        """Return what was kept, None when there is nothing that still holds."""
        found = self._kept.get(key)
        if found is None:
            return None
        since, until, value = found
        if not since - SKEW <= now <= until:
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value
