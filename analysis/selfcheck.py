"""The pipeline tried on campaigns whose truth is known.  Pure, seeded.

Each claim is a proportion that is known in advance, and passes when what was counted is a likely draw from
it: inside the central :data:`CONFIDENCE` interval of the binomial distribution.

The noise is a formula's (``analysis.synthetic``), or that of a recorded campaign (:func:`redrawn`): its residuals,
with the levels' variances, the tails, and the blocks' own lines that this machine really had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as _stats

from analysis.estimates import Estimate, require, t_estimate
from analysis.models import CLUSTERED, UNIT_SLOPE, Floats, fit_clustered, fit_unclustered, slope_estimate
from analysis.synthetic import Design, Truth, simulate
from harness.records import Stopping

stats: Any = _stats
CONFIDENCE = 0.999
ALPHA = 0.05
DIFFERENCE_MS = -0.25
DESIGN = Design(levels=(1, 20, 40, 60, 80, 100), blocks=8)
LOST_PAIRS = 0.02
RULE = Stopping(half_width_ms=0.15, min_blocks=10, look_every=2)
RULE_DESIGN = replace(DESIGN, blocks=40)
RULE_COVERAGE = 0.935
"""What is promised of campaigns that their intervals' width may end: the least, over all wanted widths."""

CAREFUL_ALPHA = 0.04
"""What a plan may say so that more of such intervals cover the truth."""

Fitted = Callable[[pd.DataFrame], Estimate]


@dataclass(frozen=True)
class Result:
    """How often something happened, and how often it may."""

    claim: str
    hits: int
    campaigns: int
    low: int
    high: int

    @property
    def passed(self) -> bool:
        return self.low <= self.hits <= self.high

    def __str__(self) -> str:
        mark = "ok  " if self.passed else "FAIL"
        return f"{mark} {self.claim}: {self.hits} of {self.campaigns} (allowed {self.low} to {self.high})"


def tolerance(campaigns: int, probability: float) -> tuple[int, int]:
    """The central interval of the binomial distribution."""
    low, high = stats.binom.interval(CONFIDENCE, campaigns, probability)
    return int(low), int(high)


def primary(rows: pd.DataFrame) -> Estimate:
    """The fit that the verdict rests on."""
    return slope_estimate(fit_clustered(rows), "primary", 0, 1, ALPHA)


def plain(rows: pd.DataFrame) -> Estimate:
    """The paper's: plain least squares."""
    return slope_estimate(fit_unclustered(rows, "nonrobust"), "plain", 0, 1, ALPHA)


def used(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the pairs in which a trial failed, so that blocks are not all alike."""
    return rows[~rows.groupby(["block_id", "pair"])["fails"].transform("any")]


def fits(count: int, design: Design, truth: Truth, fitted: Fitted, first_seed: int = 0) -> list[Estimate]:
    """The estimates from ``count`` campaigns, seeds ``first_seed`` and following."""
    return [fitted(used(simulate(design, truth, first_seed + k))) for k in range(count)]


def block_slopes(rows: pd.DataFrame) -> Floats:
    """The slope of the pair differences on n, one a block, of complete blocks of equal levels."""
    n, sign = rows["n"].to_numpy(dtype=float), np.where(rows["arm"] == 1, 1.0, -1.0)
    centred, blocks = n - n.mean(), rows["block"].to_numpy()
    return np.asarray(np.bincount(blocks, sign * centred * rows["ms"]) / np.bincount(blocks, centred**2 / 2))


def looked(slopes: Floats, blocks: int, alpha: float) -> Estimate:
    """The primary estimate after so many blocks."""
    error = float(slopes[:blocks].std(ddof=1) / np.sqrt(blocks))
    value, df = float(slopes[:blocks].mean()), blocks - 1
    return t_estimate("looked", value, error, unit=UNIT_SLOPE, df=df, alpha=alpha, method=CLUSTERED)


def tempted(slopes: Floats, rule: Stopping) -> Estimate:
    """What a campaign would say that ends at the first look with a significant difference; no plan can ask for it."""
    for blocks in (*rule.looks(len(slopes)), len(slopes)):
        estimate = looked(slopes, blocks, ALPHA)
        if estimate.p < ALPHA:
            break
    return estimate


def ended(slopes: Floats, rule: Stopping, alpha: float = ALPHA) -> Estimate:
    """The primary estimate of a campaign that the rule may end before the last of its blocks.

    With complete and equal blocks the primary fit is the mean of their slopes, and its interval that of their t (a
    test holds the two together): so looking often is quick.
    """
    for blocks in (*rule.looks(len(slopes)), len(slopes)):
        estimate = looked(slopes, blocks, alpha)
        if rule.is_reached([(estimate.ci_high - estimate.ci_low) / 2]):
            break
    return estimate


def covers(estimates: list[Estimate], truth: float) -> int:
    """How many intervals contain the truth."""
    return sum(estimate.ci_low <= truth <= estimate.ci_high for estimate in estimates)


def finds(estimates: list[Estimate]) -> int:
    """How many differ from nothing."""
    return sum(estimate.p < ALPHA for estimate in estimates)


def run(campaigns: int) -> list[Result]:
    """A set difference is covered 95 times in 100; where there is none, one is found 5 times in 100."""
    there = Truth(slope_difference_ms=DIFFERENCE_MS, failure_rate=LOST_PAIRS / 2)
    covered = covers(fits(campaigns, DESIGN, there, primary), DIFFERENCE_MS)
    found = finds(fits(campaigns, DESIGN, Truth(failure_rate=LOST_PAIRS / 2), primary, campaigns))
    return [
        Result("the interval covers a set difference", covered, campaigns, *tolerance(campaigns, 1 - ALPHA)),
        Result("a difference is found where none is", found, campaigns, *tolerance(campaigns, ALPHA)),
        *run_ended(campaigns, RULE),
    ]


def run_ended(campaigns: int, rule: Stopping) -> list[Result]:
    """As :func:`run`, for campaigns that ``rule`` may end: a little fewer are covered, and a little more found."""

    def tried(how: Callable[[Floats], Estimate], truth: float, seed: int) -> list[Estimate]:
        return fits(
            campaigns, RULE_DESIGN, Truth(slope_difference_ms=truth), lambda rows: how(block_slopes(rows)), seed
        )

    there = tried(lambda slopes: ended(slopes, rule), DIFFERENCE_MS, 2 * campaigns)
    none = tried(lambda slopes: ended(slopes, rule), 0.0, 3 * campaigns)
    careful = covers(
        tried(lambda slopes: ended(slopes, rule, CAREFUL_ALPHA), DIFFERENCE_MS, 2 * campaigns), DIFFERENCE_MS
    )
    peeking = finds(tried(lambda slopes: tempted(slopes, rule), 0.0, 3 * campaigns))
    (fewest, _), (_, most) = tolerance(campaigns, RULE_COVERAGE), tolerance(campaigns, 1 - ALPHA)
    blocks = np.mean([estimate.df + 1 for estimate in (*there, *none)])
    when = f"ended by the width after {blocks:.0f} of at most {RULE_DESIGN.blocks} blocks"
    found = (campaigns - most, campaigns - fewest)
    return [
        Result(f"the interval covers a set difference, {when}", covers(there, DIFFERENCE_MS), campaigns, fewest, most),
        Result(f"a difference is found where none is, {when}", finds(none), campaigns, *found),
        Result(
            f"the interval of alpha {CAREFUL_ALPHA:g} covers it, ended by the width",
            careful,
            campaigns,
            fewest,
            campaigns,
        ),
        Result(
            "for comparison: found where none is, had a significant look ended it", peeking, campaigns, 0, campaigns
        ),
    ]


def redrawn(rows: pd.DataFrame, difference_ms: float, rng: np.random.Generator) -> pd.DataFrame:
    """The used trials of a campaign with a set slope difference and residuals drawn anew.

    About the primary fit each block and arm has a line of its own: the blocks' lines are dealt out anew, both arms'
    together, each with a random sign.  What remains is drawn anew within each level, both trials of a pair
    together.
    """
    fit = fit_clustered(rows)
    n, arm = rows["n"].to_numpy(dtype=float), rows["arm"].to_numpy(dtype=float)
    own = _own_lines(rows.assign(residual=fit.residuals))
    pairs = rows.assign(rest=fit.residuals - _on_lines(own, rows)).pivot_table(
        index=["block_id", "pair", "n"], columns="arm", values="rest"
    )
    drawn = pairs.groupby("n", group_keys=False).sample(frac=1, replace=True, random_state=rng).to_numpy()
    pairs = pd.DataFrame(drawn, index=pairs.sort_index(level="n", kind="stable").index, columns=pairs.columns)
    remains = pd.DataFrame({"rest": pairs.stack()}).reset_index()
    blocks = own.index
    signs = rng.choice([-1.0, 1.0], len(blocks))
    dealt = pd.DataFrame(own.to_numpy()[rng.permutation(len(blocks))] * signs[:, None], blocks, own.columns)
    place = ["block_id", "pair", "n", "arm"]
    rest = rows.merge(remains, on=place, how="left", validate="one_to_one")["rest"].to_numpy()
    ms = fit.fitted + arm * n * (difference_ms - fit.difference) + _on_lines(dealt, rows) + rest
    return rows.assign(ms=ms)


def _own_lines(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a block: intercept and slope of its residuals, of both arms."""
    lines = {place: np.polyfit(part["n"], part["residual"], 1) for place, part in rows.groupby(["block_id", "arm"])}
    blocks = sorted(rows["block_id"].unique())
    table = [np.concatenate([lines[block, arm] for arm in (0, 1)]) for block in blocks]
    return pd.DataFrame(table, index=blocks, columns=["slope_0", "at_0", "slope_1", "at_1"])


def _on_lines(own: pd.DataFrame, rows: pd.DataFrame) -> Floats:
    lines = own.loc[rows["block_id"]].to_numpy()
    is_other = rows["arm"].to_numpy() == 1
    slope, at = (np.where(is_other, lines[:, k + 2], lines[:, k]) for k in (0, 1))
    return np.asarray(at + slope * rows["n"].to_numpy(dtype=float))


def run_on(rows: pd.DataFrame, campaigns: int) -> list[Result]:
    """As :func:`run`, with the residuals of the used trials ``rows``, and for each claim so many campaigns.

    Raises:
        NotEnoughDataError: there is no primary fit, or a block has one level only.
    """
    require((rows.groupby("block_id")["n"].nunique() >= 3).all(), "a block's own line needs three levels in each block")
    counts = []
    for seed, truth in enumerate((DIFFERENCE_MS, 0.0)):
        rng = np.random.default_rng(seed)
        counts.append([primary(redrawn(rows, truth, rng)) for _ in range(campaigns)])
    there, none = counts
    source = "with the recorded residuals"
    return [
        Result(
            f"the interval covers a set difference, {source}",
            covers(there, DIFFERENCE_MS),
            campaigns,
            *tolerance(campaigns, 1 - ALPHA),
        ),
        Result(f"a difference is found where none is, {source}", finds(none), campaigns, *tolerance(campaigns, ALPHA)),
    ]
