"""Looks between blocks: whether a campaign may end before its last one.

A plan with ``[stopping]`` is looked at when ``min_blocks`` blocks are complete, and then every ``look_every``: the
analysis, as a process, computes from the raw lines so far how wide the primary interval is in every part, and the
campaign ends when all are at most as wide as the plan wants.  Nothing but widths comes back, so nothing else can
decide.  A look stands between two blocks, and its process has ended before the next trial begins; it is recorded
before anything follows from it, so one that was interrupted is taken again, and none is taken twice.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import trio
from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError
from harness.plan import Plan
from harness.records import LOOKS, HalfWidth, Look, Stopping, Trial

_HALF_WIDTHS = TypeAdapter(tuple[HalfWidth, ...])


def is_over(looks: Sequence[Look]) -> bool:
    """Whether the rule has ended the campaign."""
    return bool(looks) and looks[-1].stop


def is_due(plan: Plan, looks: Sequence[Look], blocks_done: int) -> bool:
    """Whether there must be a look before the next trial."""
    seen = looks[-1].blocks if looks else 0
    return plan.stopping is not None and blocks_done > seen and blocks_done in plan.stopping.looks(plan.blocks)


async def look(path: Path, rule: Stopping, blocks: int, trials: int) -> Look:
    """Let the analysis measure the intervals of the first ``blocks`` blocks.  HarnessError when it cannot."""
    at, began_ns = datetime.now(UTC).isoformat(), time.monotonic_ns()
    found = await half_widths(path, blocks)
    return Look(
        blocks=blocks,
        trials=trials,
        looked_at=at,
        took_ns=time.monotonic_ns() - began_ns,
        half_widths=found,
        stop=rule.is_reached(one.ms for one in found),
    )


async def half_widths(path: Path, blocks: int) -> tuple[HalfWidth, ...]:
    """What ``python -m analysis look`` says.  HarnessError in its words when it fails."""
    argv = [sys.executable, "-m", "analysis", "look", str(path), "--blocks", str(blocks)]
    ended = await trio.run_process(
        argv, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False, start_new_session=True
    )
    try:
        if ended.returncode == 0:
            return _HALF_WIDTHS.validate_json(ended.stdout)
        said = " ".join(ended.stderr.decode(errors="replace").split()[-60:]) or "nothing"
    except ValidationError:
        said = f"{ended.stdout[:100]!r}, which are no half-widths"
    raise HarnessError(f"The analysis cannot look at {path} (exit code {ended.returncode}); it said: {said}")


def objections(plan: Plan, looks: Sequence[Look], trials: Sequence[Trial]) -> Iterator[str]:
    """What is wrong with recorded looks, or missing among them; the widths themselves are the analysis's to verify."""
    rule, begun = plan.stopping, max((trial.block for trial in trials), default=-1)
    due = [] if rule is None else [blocks for blocks in rule.looks(plan.blocks) if blocks <= begun + 1]
    taken, passed = [one.blocks for one in looks], sum(blocks <= begun for blocks in due)
    if taken != due[: len(taken)] or len(taken) < passed:
        yield f"{LOOKS}: has looks after {_listed(taken)} blocks, and by the plan they are after {_listed(due)}."
        return
    before = Counter(trial.block for trial in trials)
    for one in looks:
        if one.trials != sum(count for block, count in before.items() if block < one.blocks):
            yield f"{LOOKS}: the look after {one.blocks} blocks does not stand between two blocks."
        if rule is not None and one.stop != rule.is_reached(width.ms for width in one.half_widths):
            yield f"{LOOKS}: the look after {one.blocks} blocks did not decide by the plan's rule."
    for one in looks:
        if one.stop and any(trial.block >= one.blocks for trial in trials):
            yield f"{LOOKS}: the campaign went on after {one.blocks} blocks, where a look had ended it."


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "no"


def described(plan: Plan) -> str:
    """The rule as a sentence; empty without one."""
    rule = plan.stopping
    if rule is None:
        return ""
    return (
        f"It ends earlier when every interval is at most ± {rule.half_width_ms:g} ms per process: looked at after"
        f" {rule.min_blocks} blocks and then every {rule.look_every}."
    )


def told(one: Look, plan: Plan) -> str:
    """What a look found, in one line."""
    widths = ", ".join("unknown" if width.ms is None else f"± {width.ms:.3g}" for width in one.half_widths)
    ending = f"the campaign ends here, after {one.blocks} of at most {plan.blocks} blocks" if one.stop else "it goes on"
    return f"Look after {one.blocks} blocks: {widths} ms per process; {ending}."
