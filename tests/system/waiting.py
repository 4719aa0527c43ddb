"""Waiting for something to become true in another process, with a bound and without hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 90.0
"""far more than anything takes: it is only ever reached by what would never come"""


def eventually(look: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return the first true answer of ``look``; fail with its last answer when there is none in time."""
    deadline = time.monotonic() + patience_s
    while True:
        if answer := look():
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {patience_s:g} s"
        time.sleep(0.005)


def eventually_nothing(look: Callable[[], T], patience_s: float = PATIENCE_S) -> None:
    """Wait until ``look`` finds nothing; fail with what it found last."""
    last: list[T] = []

    def found_nothing() -> bool:
        last[:] = [look()]
        return not last[0]

    try:
        eventually(found_nothing, patience_s)
    except AssertionError:
        raise AssertionError(f"still {last[0]!r} after {patience_s:g} s") from None
