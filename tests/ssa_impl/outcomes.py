"""Outcomes of calls, and what a test process holds, as values to compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ssa_impl.errors import SsaError

T = TypeVar("T")


def outcome(call: Callable[..., T], *arguments: object) -> tuple[T | None, SsaError | None]:
    """Return what a call gave, or how it failed; a failure that is no SsaError is the test's failure."""
    try:
        return call(*arguments), None
    except SsaError as error:
        return None, error


def open_descriptors() -> set[str]:
    """Return the descriptors that this process has open."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}
