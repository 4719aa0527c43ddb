"""Waiting for something to become true in another process, with a bound and without hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 20.0


def eventually(look: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Return the first true answer of ``look``; fail with its last answer when there is none in time."""
    deadline = time.monotonic() + patience_s
    while True:
        if answer := look():
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {patience_s:g} s"
        time.sleep(0.005)
