"""The pipeline tried on campaigns whose truth is known.  Pure, seeded.

Each claim is a proportion that is known in advance, and passes when what was counted is a likely draw from
it: inside the central :data:`CONFIDENCE` interval of the binomial distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats as _stats

from analysis.estimates import Estimate
from analysis.models import fit_clustered, fit_unclustered, slope_estimate
from analysis.synthetic import Design, Truth, simulate

stats: Any = _stats
CONFIDENCE = 0.999
ALPHA = 0.05
DIFFERENCE_MS = -0.25
DESIGN = Design(levels=(1, 20, 40, 60, 80, 100), blocks=8)
LOST_PAIRS = 0.02

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
    ]
