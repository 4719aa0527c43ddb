"""The claims that plan files make, beside what was recorded for them: the table of ``results/README.md``.

A plan file says in ``[claim]`` what the plan is run for and what a repetition should find
(:class:`harness.records.Claim`); the recorded verdict says what was found.  Ranges that a program can check are
checked: every verdict of the recorded campaign must lie in them.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from analysis import sentences
from analysis.errors import DataError
from analysis.estimates import Estimate, Missing
from analysis.files import get
from analysis.load import load
from analysis.verdict import Verdict
from analysis.verification import read_verdicts
from harness.records import Claim

COLUMNS = ("claim", "command", "expected", "minutes", "data", "recorded")
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Recorded:
    """What the claim's campaign found, and what of it is not as expected (one half-sentence each)."""

    verdicts: tuple[Verdict, ...]
    minutes: float
    unexpected: tuple[str, ...]


@dataclass(frozen=True)
class Claimed:
    """A claim, the plan that tests it, and what was recorded (None: nothing yet)."""

    plan: str
    claim: Claim
    recorded: Recorded | None

    @property
    def data(self) -> str:
        """The directory below the results."""
        return self.claim.data or self.plan

    @property
    def command(self) -> str:
        return f"python -m harness run --plan {self.plan}"


def read(plans: Path, results: Path) -> tuple[Claimed, ...]:
    """Every plan file with a claim, the quickest first, beside what lies in ``results``.

    Raises:
        DataError: there are no plan files, or a claim or a recorded file is not one.
    """
    paths = sorted(plans.glob("*.toml"))
    if not paths:
        raise DataError(f"{plans}: there are no plan files; say with --plans where they are")
    found = [(path.stem, claim) for path in paths if (claim := _claim(path)) is not None]
    found.sort(key=lambda one: (one[1].minutes, one[0]))
    return tuple(Claimed(name, claim, _recorded(claim, results / (claim.data or name))) for name, claim in found)


def _claim(path: Path) -> Claim | None:
    try:
        content = tomllib.loads(get(path).decode())
        return Claim.model_validate(content["claim"]) if "claim" in content else None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in ("claim", *first["loc"]))
        raise DataError(f"{path}: {place}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not TOML: {error}") from None


def _recorded(claim: Claim, directory: Path) -> Recorded | None:
    if not directory.is_dir():
        return None
    verdicts = read_verdicts(directory / "verdict.json")
    return Recorded(verdicts, minutes(load(directory).trials), tuple(unexpected(claim, verdicts)))


def minutes(trials: pd.DataFrame) -> float:
    """From the beginning of the first trial to the end of the last."""
    if trials.empty:
        return 0.0
    began = [datetime.fromisoformat(str(text)).timestamp() for text in trials["started_at"]]
    lasted_ns = trials[["setup_ns", "elapsed_ns", "teardown_ns"]].astype("Float64").fillna(0).sum(axis=1)
    return float(max(start + ns / 1e9 for start, ns in zip(began, lasted_ns, strict=True)) - min(began)) / 60


def unexpected(claim: Claim, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """What of the verdicts does not lie in the claim's ranges."""
    for verdict in verdicts:
        slope = verdict.slopes if isinstance(verdict.slopes, Missing) else verdict.slopes.difference
        yield from _outside("the slope difference", "ms per process", slope, claim.slope_ms)
        yield from _outside("the CPU ratio", "", verdict.cpu.ratio, claim.cpu_ratio)
        if claim.verdicts and (word := sentences.word(verdict)) not in claim.verdicts:
            yield f"the verdict is {word}"


def _outside(name: str, unit: str, found: Estimate | Missing, span: tuple[float, float] | None) -> Iterator[str]:
    if span is None:
        return
    if isinstance(found, Missing):
        yield f"{name} is missing: {found.reason}"
    elif not span[0] <= found.value <= span[1]:
        yield f"{name} is {found.value:.4g} {unit}".rstrip() + f", not {span[0]:g} to {span[1]:g}"


def table(claimed: Sequence[Claimed]) -> str:
    """Markdown: one row a claim."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(one) for one in claimed)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _cells(one: Claimed) -> tuple[str, ...]:
    where = f"[{one.data}]({one.data}/)" if one.recorded else f"`{one.data}`"
    found = said(one).replace("not as expected", "**not as expected**")
    return one.claim.says, f"`{one.command}`", one.claim.expected, str(one.claim.minutes), where, found


def said(one: Claimed) -> str:
    """What was recorded, in one table cell."""
    if one.recorded is None:
        return NOT_RECORDED
    found = "; ".join(sentences.brief(verdict, among=one.recorded.verdicts) for verdict in one.recorded.verdicts)
    judged = f"not as expected: {'; '.join(one.recorded.unexpected)}" if one.recorded.unexpected else "as expected"
    return f"{found} ({max(1, round(one.recorded.minutes))} min): {judged}"


def quote(verdict: Verdict) -> str:
    """Markdown: the headline, CPU and judgement of a recorded campaign, as every run ends."""
    texts = (sentences.headline(verdict), sentences.cpu(verdict), sentences.judgement(verdict))
    return "\n>\n".join(textwrap.fill(text, 120, initial_indent="> ", subsequent_indent="> ") for text in texts) + "\n"


def rewritten(text: str, sections: dict[str, str], path: Path) -> str:
    """A document with what stands between ``<!-- NAME: ... -->`` and ``<!-- NAME: end -->`` made anew.

    Raises:
        DataError: a section has no end.
    """
    for name, content in sections.items():
        head, found, rest = text.partition(f"<!-- {name}: ")
        if not found:
            continue
        opening, closed, rest = rest.partition("-->\n")
        _, end, tail = rest.partition(f"<!-- {name}: end -->")
        if not closed or not end:
            raise DataError(f"{path}: the section {name} has no '<!-- {name}: end -->'")
        text = f"{head}{found}{opening}{closed}\n{content}\n{end}{tail}"
    return text
