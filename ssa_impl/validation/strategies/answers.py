"""What a source of revocation information says of one certificate."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

SKEW = datetime.timedelta(minutes=5)
"""how far the clocks of an authority and ours may be apart"""
WITHOUT_NEXT_UPDATE = datetime.timedelta(days=1)
"""how long an answer holds that does not say when the next one comes"""


@dataclass(frozen=True)
class Answer:
    """A signed answer that holds until then; ``source`` is for the reason's sentence."""

    revoked: bool
    until: datetime.datetime
    source: str
    detail: str = ""


class NoAnswer(Exception):
    """Nothing that can be believed; the text says why."""


def holds_until(
    now: datetime.datetime, this_update: datetime.datetime, next_update: datetime.datetime | None
) -> datetime.datetime:
    """Return when an answer ceases to hold.  Raises NoAnswer when it holds no more, or not yet."""
    until = next_update if next_update is not None else this_update + WITHOUT_NEXT_UPDATE
    if now < this_update - SKEW:
        raise NoAnswer(f"it is of the future ({this_update:%Y-%m-%d %H:%M} UTC)")
    if now > until + SKEW:
        raise NoAnswer(f"it expired at {until:%Y-%m-%d %H:%M} UTC")
    return until


def when(moment: datetime.datetime, reason: object) -> str:
    """Return the detail of a revocation."""
    why = f", {getattr(reason, 'value', reason)}" if reason is not None else ""
    return f"revoked at {moment:%Y-%m-%d %H:%M} UTC{why}"
