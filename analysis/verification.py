"""Is a recorded verdict still what the data say?  For people who evaluate the artefact."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from analysis.errors import DataError
from analysis.files import get
from analysis.load import Campaign
from analysis.stopping import looks_again
from analysis.verdict import Verdict, VerdictFile
from harness.records import LOOKS

LAST_DIGITS = 1e-9
TINY = 1e-12
IGNORED = frozenset({"versions"})


def read_verdicts(path: Path) -> tuple[Verdict, ...]:
    """What a ``verdict.json`` holds.

    Raises:
        DataError: it is missing, or not a verdict of this version.
    """
    try:
        return VerdictFile.model_validate_json(get(path)).verdicts
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; 'python -m analysis all' writes it") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: not a verdict of this version: {place}: {first['msg']}") from None


def differences(recorded: Sequence[Verdict], now: Sequence[Verdict], *, exact: bool = False) -> list[str]:
    """One line for each value that differs.

    Versions may; and numbers, unless ``exact``, beyond their ninth digit: other builds of the libraries, and the
    same ones on another processor, add up in another order.
    """
    old, new = ([verdict.model_dump(mode="json") for verdict in verdicts] for verdicts in (recorded, now))
    tolerance = 0.0 if exact else LAST_DIGITS
    return list(_compare(old, new, "verdicts", tolerance))


def look_differences(campaign: Campaign, *, exact: bool = False) -> list[str]:
    """The same for the looks that may have ended a campaign: each is taken again on the trials that it saw."""
    old, new = ([look.model_dump(mode="json") for look in looks] for looks in (campaign.looks, looks_again(campaign)))
    return list(_compare(old, new, str(campaign.directory / LOOKS), 0.0 if exact else LAST_DIGITS))


def versions_apart(recorded: Sequence[Verdict], now: Sequence[Verdict]) -> str:
    """The versions that differ, as half a sentence; empty when none does."""
    pairs = [(old.versions, new.versions) for old, new in zip(recorded, now, strict=False)]
    told = {
        f"{name} {old.get(name, 'none')} then and {new.get(name, 'none')} now"
        for old, new in pairs
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name)
    }
    return ", ".join(sorted(told))


def _compare(old: Any, new: Any, path: str, tolerance: float) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted((old.keys() | new.keys()) - IGNORED):
            yield from _compare(old.get(key), new.get(key), f"{path}.{key}", tolerance)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _compare(before, after, f"{path}[{index}]", tolerance)
    elif not _is_same(old, new, tolerance):
        yield f"{path}: recorded {old!r}, now {new!r}"


def _is_same(old: Any, new: Any, tolerance: float) -> bool:
    if isinstance(old, float) and isinstance(new, float | int) and not isinstance(new, bool):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=TINY if tolerance else 0.0)
    return bool(old == new)
