"""Two campaigns beside each other: two machines, two versions, before and after a change.  Pure.

What is compared is what each campaign found on its own, with its own blocks: the slopes of both arms, the
slope difference between them (the *effect*), and the CPU seconds per megabyte.  B minus A of the effect is
the difference in differences: what changed for both arms alike, as a faster machine does, has cancelled.

The campaigns share no block, so their estimates are independent.  The standard error is the root of the sum of
the squares of theirs, each clustered by block (CRV3), and Student's t has Welch and Satterthwaite's degrees of
freedom, so that a campaign of few blocks counts as what it is.  The values are those of the pooled regression
``ms ~ n * impl * campaign``.

Two quantities are guarded by a threshold: the effect, and the ratio of the CPU ratios.  Each is *within* when
its interval lies inside the threshold on both sides, *beyond* when it lies wholly outside, else *undecided*: a
claim in either direction must be shown.  A threshold that is true is exceeded on one side only, so at most
alpha / 2 of such intervals lie beyond it, and at most alpha of such comparisons say so of either quantity.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import numpy as np
import pandas as pd
from pydantic import Field

from analysis import cpu, models
from analysis.errors import DataError
from analysis.estimates import Estimate, Frozen, Missing, Result, or_missing, require, t_estimate
from analysis.frames import Place, Scenario, places
from analysis.load import Campaign
from analysis.models import UNIT_SLOPE, SlopeFit
from analysis.pooling import scenario
from analysis.stopping import Stopped, stopped
from analysis.unlike import Difference, decisive, differences
from harness.records import Boundary, Link, Profile

COMPARISON_VERSION = 1
CPU_THRESHOLD_PERCENT = 5.0
WELCH = "B minus A; CRV3 by block in each, t with Welch's df"
WELCH_LOGS = "B over A; geometric means of the blocks, t on their logarithms with Welch's df"
UNIT_RATIO = "B / A"


class Standing(StrEnum):
    """Where an interval lies, seen from its threshold."""

    WITHIN = "within"
    BEYOND = "beyond"
    UNDECIDED = "undecided"


class Guarded(Frozen):
    """A quantity with a threshold."""

    name: str
    low: float = Field(description="the threshold's lower end, in the unit of the change")
    high: float
    standing: Standing
    change: Result


class Side(Frozen):
    """What one of the campaigns found on its own."""

    campaign: str
    baseline: str
    other: str
    slopes: SlopeFit | Missing
    cpu: cpu.CpuComparison
    blocks: int
    stopping: tuple[Stopped, ...] = Field(default=(), description="when the campaign might end early")
    data: str = Field(description="the directory that it was read from")


class Comparison(Frozen):
    """B beside A, at one boundary."""

    a: Side
    b: Side
    link: Link
    profile: Profile
    boundary: Boundary
    alpha: float
    incomparable: tuple[Difference, ...] = Field(description="shown all the same, as was asked for")
    differences: tuple[Difference, ...]
    baseline_slope: Result
    other_slope: Result
    effect: Result = Field(description="of the slope differences: the difference in differences")
    baseline_cpu: Result
    other_cpu: Result
    cpu_ratio: Result = Field(description="of the ratios other / baseline")
    guarded: tuple[Guarded, ...]

    @property
    def standing(self) -> Standing:
        """The worst of the guarded quantities: beyond, then undecided."""
        found = {guarded.standing for guarded in self.guarded}
        return next((one for one in (Standing.BEYOND, Standing.UNDECIDED) if one in found), Standing.WITHIN)


class ComparisonFile(Frozen):
    """What ``compare --json`` prints: one comparison a boundary that both campaigns have."""

    schema_version: int = COMPARISON_VERSION
    comparisons: tuple[Comparison, ...]


def compare(
    a: Campaign,
    b: Campaign,
    *,
    threshold_ms: float | None = None,
    cpu_threshold_percent: float = CPU_THRESHOLD_PERCENT,
    worse_only: bool = False,
    anyway: bool = False,
) -> tuple[Comparison, ...]:
    """Compare campaign B with campaign A, once for each boundary that both have.

    Args:
        a: before, or the reference.
        b: after.
        threshold_ms: of the effect, ms per process; None: the equivalence margin in A's plan.
        cpu_threshold_percent: of the ratio of the CPU ratios.
        worse_only: an effect or a ratio that became smaller is within, however far.
        anyway: compare also what does not ask the same question; the differences are listed.

    Raises:
        DataError: they do not ask the same question.
    """
    unlike = decisive(a, b)
    if unlike and not anyway:
        said = "; ".join(f"{one.what} is {one.a} and {one.b}" for one in unlike)
        raise DataError(
            f"{a.directory} and {b.directory} do not ask the same question: {said}; "
            "say --anyway to see them beside each other all the same"
        )
    limit = a.manifest.judgement.margin_ms_per_process if threshold_ms is None else threshold_ms
    share = 1 + cpu_threshold_percent / 100
    highest = (limit, share)
    lowest = (-np.inf, 0.0) if worse_only else (-limit, 1 / share)
    spans = tuple(zip(lowest, highest, strict=True))
    return tuple(
        _compare(scenario([a], ours), scenario([b], theirs), (spans[0], spans[1]), tuple(unlike))
        for ours, theirs in _places(a, b)
    )


def _places(a: Campaign, b: Campaign) -> list[tuple[Place, Place]]:
    """The places that both have; else (with --anyway) those of one boundary; else the first of each."""
    ours, theirs = places(a.manifest), places(b.manifest)
    common = [(place, place) for place in ours if place in theirs]
    alike = [(one, other) for one in ours for other in theirs if one.boundary is other.boundary]
    return common or alike or [(ours[0], theirs[0])]


def _compare(
    a: Scenario, b: Scenario, spans: tuple[tuple[float, float], tuple[float, float]], unlike: tuple[Difference, ...]
) -> Comparison:
    alpha = a.manifest.judgement.alpha
    effect = or_missing("effect", _slopes, a, b, (0, 1), alpha)
    ratio = or_missing("CPU ratio", _logs, a, b, _log_ratios, alpha)
    return Comparison(
        a=_side(a, alpha),
        b=_side(b, alpha),
        link=a.link,
        profile=a.profile,
        boundary=a.boundary,
        alpha=alpha,
        incomparable=unlike,
        differences=differences(a.campaigns[0], b.campaigns[0]),
        baseline_slope=or_missing("baseline's slope", _slopes, a, b, (1, 0), alpha),
        other_slope=or_missing("other's slope", _slopes, a, b, (1, 1), alpha),
        effect=effect,
        baseline_cpu=or_missing("baseline's CPU per MB", _logs, a, b, _log_baseline, alpha),
        other_cpu=or_missing("other's CPU per MB", _logs, a, b, _log_other, alpha),
        cpu_ratio=ratio,
        guarded=(_guard("effect", effect, spans[0]), _guard("CPU ratio", ratio, spans[1])),
    )


def _side(side: Scenario, alpha: float) -> Side:
    fit = or_missing("primary fit", models.fit_clustered, side.rows)
    return Side(
        campaign=side.names[0],
        baseline=side.arms[0],
        other=side.arms[1],
        slopes=fit if isinstance(fit, Missing) else models.summarise(fit, side.rows, alpha),
        cpu=cpu.compare(side.rows, alpha),
        blocks=int(side.rows["block_id"].nunique()),
        stopping=stopped(side.campaigns),
        data=str(side.campaigns[0].directory),
    )


def _guard(name: str, change: Result, span: tuple[float, float]) -> Guarded:
    low, high = span
    return Guarded(name=name, low=low, high=high, standing=_standing(change, low, high), change=change)


def _standing(change: Result, low: float, high: float) -> Standing:
    if isinstance(change, Missing):
        return Standing.UNDECIDED
    if change.ci_low > high or change.ci_high < low:
        return Standing.BEYOND
    return Standing.WITHIN if low <= change.ci_low and change.ci_high <= high else Standing.UNDECIDED


def _slopes(a: Scenario, b: Scenario, weights: tuple[float, float], alpha: float) -> Estimate:
    """B's contrast of slopes less A's, ms per process."""
    fits = [models.fit_clustered(side.rows) for side in (a, b)]
    (ours, error_a), (theirs, error_b) = (fit.contrast(*weights) for fit in fits)
    df = welch_df((error_a, fits[0].df), (error_b, fits[1].df))
    error = float(np.hypot(error_a, error_b))
    return t_estimate("change", theirs - ours, error, unit=UNIT_SLOPE, df=df, alpha=alpha, method=WELCH)


def _log_baseline(rows: pd.DataFrame) -> pd.Series:
    return _log_costs(rows, 0)


def _log_other(rows: pd.DataFrame) -> pd.Series:
    return _log_costs(rows, 1)


def _log_ratios(rows: pd.DataFrame) -> pd.Series:
    return _log_costs(rows, 1) - _log_costs(rows, 0)


def _log_costs(rows: pd.DataFrame, arm: int) -> pd.Series:
    costs = cpu.by_block(rows[rows["arm"] == arm])
    require((costs > 0).all(), "a block has no CPU time at all")
    return pd.Series(np.log(costs.to_numpy()), index=costs.index)


def _logs(a: Scenario, b: Scenario, of: Callable[[pd.DataFrame], pd.Series], alpha: float) -> Estimate:
    """B over A, from one logarithm a block."""
    logs = [of(side.rows) for side in (a, b)]
    for side in logs:
        require(len(side) >= 2, f"an interval needs two blocks with complete pairs; blocks here: {len(side)}")
    errors = [float(side.std(ddof=1) / np.sqrt(len(side))) for side in logs]
    df = welch_df((errors[0], len(logs[0]) - 1), (errors[1], len(logs[1]) - 1))
    change, error = float(logs[1].mean() - logs[0].mean()), float(np.hypot(errors[0], errors[1]))
    on_logs = t_estimate("change", change, error, unit=UNIT_RATIO, df=df, alpha=alpha, method=WELCH_LOGS)
    ends = {name: float(np.exp(getattr(on_logs, name))) for name in ("value", "ci_low", "ci_high")}
    return on_logs.model_copy(update={**ends, "standard_error": None})


def welch_df(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Degrees of freedom of the sum of two independent estimates, each (standard error, df); Satterthwaite 1946."""
    (error_a, df_a), (error_b, df_b) = a, b
    if error_a == error_b == 0:
        return df_a + df_b
    total = error_a**2 + error_b**2
    return float(total**2 / (error_a**4 / df_a + error_b**4 / df_b))
