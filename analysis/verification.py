"""Is a recorded verdict still what the data say?  For people who evaluate the artefact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.errors import DataError
from analysis.verdict import Verdict, VerdictFile

RELATIVE_TOLERANCE = 1e-6
ABSOLUTE_TOLERANCE = 1e-9
IGNORED = frozenset({"versions"})


def read_verdicts(path: Path) -> tuple[Verdict, ...]:
    """What a ``verdict.json`` holds.

    Raises:
        DataError: it is missing, or not a verdict of this version.
    """
    try:
        return VerdictFile.model_validate_json(path.read_bytes()).verdicts
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; 'python -m analysis all' writes it") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: not a verdict of this version: {place}: {first['msg']}") from None


def differences(recorded: Sequence[Verdict], now: Sequence[Verdict]) -> list[str]:
    """One line for each value that differs; versions may, and numbers in their last digits."""
    old, new = ([verdict.model_dump(mode="json") for verdict in verdicts] for verdicts in (recorded, now))
    return list(_compare(old, new, "verdicts"))


def _compare(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted((old.keys() | new.keys()) - IGNORED):
            yield from _compare(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _compare(before, after, f"{path}[{index}]")
    elif not _is_same(old, new):
        yield f"{path}: recorded {old!r}, now {new!r}"


def _is_same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, float | int) and not isinstance(new, bool):
        return math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE, abs_tol=ABSOLUTE_TOLERANCE)
    return bool(old == new)
