"""How many blocks the next campaign needs, from a pilot.  Pure, seeded.

A block gives one slope of the pair differences on n.  With equal, complete blocks the primary fit's slope
difference is their mean, and its standard error their spread over the root of their number, so the spread of one
block's slope, from the pilot, says what B blocks will say.  The spread has two parts: the scatter of single
pairs about the pilot's line, each level with the variance it has; and, only when the pilot's slopes vary more
than this scatter explains (Cochran's Q, 5 %), a variation of the blocks themselves.

Three questions, each a probability that the wanted thing happens, and the smallest B for which it is at least
the plan's power:

- *precision*: the interval's half-width is at most so many ms per process;
- *difference*: a true slope difference of so many ms per process is found;
- *equivalence*: where there is no difference, one as large as the margin is ruled out.

The formulas take residuals to be normal.  So each B is then tried on simulated campaigns made of the pilot's own
residuals, drawn anew within each level, and judged by the same test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import stats as _stats

from analysis.checks import slopes_by_block
from analysis.errors import NotEnoughDataError
from analysis.estimates import Frozen, Missing, require, t_quantile
from analysis.frames import NS_PER_S, Scenario
from analysis.models import UNIT_SLOPE, Floats
from analysis.power import HETEROGENEITY_ALPHA, heterogeneity_p, power_of
from analysis.stopping import Stopped, stopped
from harness.records import Link, Profile

stats: Any = _stats
MAX_BLOCKS = 10_000
CAMPAIGNS = 1000
S_PER_MINUTE = 60
QUADRATURE_NODES = 200


class Question(StrEnum):
    """What the next campaign shall be able to do."""

    PRECISION = "precision"
    DIFFERENCE = "difference"
    EQUIVALENCE = "equivalence"


SAID = {
    Question.PRECISION: "an interval of at most ± {}",
    Question.DIFFERENCE: "to find a difference of {}",
    Question.EQUIVALENCE: "to rule out ± {} where there is no difference",
}


class Answer(Frozen):
    """So many blocks."""

    question: Question
    wanted: float = Field(description="half-width, difference or margin")
    unit: str = UNIT_SLOPE
    blocks: int
    minutes: float = Field(description="of trials, at the pilot's pace; set-up and analysis are not in it")
    chance: float = Field(description="that it happens with these blocks, by formula")
    simulated: float = Field(description="share of simulated campaigns in which it happened")


class Sizing(Frozen):
    """What a pilot says about the next campaign with the same levels."""

    campaigns: tuple[str, ...]
    link: Link
    profile: Profile
    baseline: str
    other: str
    pilot_blocks: int
    pilot_levels: int
    block_sd: float = Field(description="of one block's slope difference, ms per process")
    between_sd: float = Field(description="the blocks' own part of it; 0 when the pairs' scatter explains all")
    heterogeneity_p: float = Field(description="of Cochran's Q: do the blocks' slopes differ?")
    minutes_per_block: float
    power: float = Field(description="demanded, from the plan")
    alpha: float
    campaigns_simulated: int
    stopping: tuple[Stopped, ...] = Field(default=(), description="when the pilot might end early")
    answers: tuple[Answer | Missing, ...]


@dataclass(frozen=True)
class Pilot:
    """What is taken from the pilot: centred n, the residuals of each level, and the blocks' own spread."""

    weights: Floats  # of each level in a block's slope
    residuals: tuple[Floats, ...]  # ms, by level, of mean zero
    between_sd: float  # ms per process
    heterogeneity_p: float

    @property
    def block_sd(self) -> float:
        """Standard deviation of one block's slope difference."""
        variances = np.array([np.mean(values**2) for values in self.residuals])
        return float(np.sqrt(self.weights**2 @ variances + self.between_sd**2))


def pilot(pairs: pd.DataFrame) -> Pilot:
    """From the pilot's pairs.

    Raises:
        NotEnoughDataError: fewer than two blocks with a slope, or not two pairs at each level.
    """
    counts = pairs.groupby("n").size()
    require(len(counts) >= 2, "a slope needs two levels of n")
    require(counts.min() >= 2, f"the pilot has only one complete pair at n = {counts.idxmin()}; it needs two blocks")
    levels = counts.index.to_numpy(dtype=float)
    about = levels - levels.mean()
    weights = about / (about @ about)
    n, difference = (_less_block_mean(pairs, name) for name in ("n", "diff"))
    pooled = difference - n * float(n @ difference / (n @ n))
    p = heterogeneity_p(pairs, float(pooled @ pooled / (len(pooled) - pairs["block_id"].nunique() - 1)))
    if p >= HETEROGENEITY_ALPHA:
        return Pilot(weights, _by_level(pairs["n"], pooled, 1), 0.0, p)
    slopes = slopes_by_block(pairs)["difference"]
    own = difference - n * slopes.reindex(pairs["block_id"]).fillna(0.0).to_numpy()
    within = Pilot(weights, _by_level(pairs["n"], own, 2), 0.0, p)
    between = max(0.0, float(slopes.dropna().var(ddof=1)) - within.block_sd**2)
    return Pilot(weights, within.residuals, float(np.sqrt(between)), p)


def _less_block_mean(pairs: pd.DataFrame, name: str) -> Floats:
    values = pairs[name].astype(float)
    return (values - values.groupby(pairs["block_id"]).transform("mean")).to_numpy()


def _by_level(n: pd.Series, residuals: Floats, fitted: int) -> tuple[Floats, ...]:
    """The residuals of each level, made as large as they were before ``fitted`` parameters a block, and the
    level's own mean, were taken out of them.
    """
    levels = n.nunique()
    spared = levels / (levels - fitted) if levels > fitted else 0.0
    parts = [residuals[(n == level).to_numpy()] for level in sorted(n.unique())]
    return tuple((part - part.mean()) * np.sqrt(spared * len(part) / (len(part) - 1)) for part in parts)


def chance(question: Question, wanted: float, spread: float, blocks: int, alpha: float) -> float:
    """Probability that it happens with so many blocks, ``spread`` being the standard deviation of one."""
    df, error = blocks - 1, spread / np.sqrt(blocks)
    if question is Question.DIFFERENCE:
        return power_of(wanted, error, df, alpha)
    if error == 0:
        return 1.0
    if question is Question.PRECISION:
        quantile = t_quantile(1 - alpha / 2, df)
        return float(stats.chi2.cdf(df * (wanted / (quantile * error)) ** 2, df))
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    scale = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, df) / df)
    room = np.maximum(wanted / error - t_quantile(1 - alpha, df) * scale, 0)
    return float(weights @ (2 * stats.norm.cdf(room) - 1) / 2)


def simulate(question: Question, wanted: float, found: Pilot, blocks: int, *, alpha: float, seed: int) -> float:
    """Share of :data:`CAMPAIGNS` campaigns, made of the pilot's residuals, in which it happened."""
    rng = np.random.default_rng([seed, blocks])
    truth = wanted if question is Question.DIFFERENCE else 0.0
    happened = 0
    for _ in range(CAMPAIGNS):
        slopes = truth + rng.normal(0, found.between_sd, blocks) if found.between_sd else np.full(blocks, truth)
        for weight, values in zip(found.weights, found.residuals, strict=True):
            slopes = slopes + weight * rng.choice(values, blocks)
        error = float(slopes.std(ddof=1) / np.sqrt(blocks))
        happened += _happened(question, wanted, (float(slopes.mean()), error), blocks - 1, alpha)
    return happened / CAMPAIGNS


def _happened(question: Question, wanted: float, estimate: tuple[float, float], df: int, alpha: float) -> bool:
    value, error = estimate
    wide = t_quantile(1 - alpha / 2, df) * error
    if question is Question.PRECISION:
        return wide <= wanted
    if question is Question.DIFFERENCE:
        return abs(value) > wide
    return abs(value) + t_quantile(1 - alpha, df) * error < wanted


def smallest(enough: Callable[[int], bool], least: int) -> int:
    """The smallest number of blocks that is enough, by bisection: more are never less.

    Raises:
        NotEnoughDataError: not even :data:`MAX_BLOCKS` are.
    """
    low, high = least - 1, least
    while not enough(high):
        low, high = high, 2 * high
        if low >= MAX_BLOCKS:
            raise NotEnoughDataError(
                f"more than {MAX_BLOCKS} blocks would be needed; take more levels, or a quieter machine"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def minutes_per_block(scenario: Scenario) -> float:
    """From the trials' own times, repeated ones included; pauses between trials are not counted."""
    columns = scenario.trials[["setup_ns", "elapsed_ns", "teardown_ns"]].astype("Float64").fillna(0.0)
    seconds = float(columns.to_numpy(dtype=float).sum()) / NS_PER_S
    return seconds / S_PER_MINUTE / max(1, scenario.trials["block_id"].nunique())


def size(scenario: Scenario, questions: tuple[tuple[Question, float], ...]) -> Sizing:
    """Answer each question for a campaign with the pilot's levels.

    Raises:
        NotEnoughDataError: the pilot is too small to say anything.
    """
    judgement, found = scenario.manifest.judgement, pilot(scenario.pairs)
    minutes, spread = minutes_per_block(scenario), found.block_sd

    def answer(question: Question, wanted: float) -> Answer | Missing:
        def enough(blocks: int) -> bool:
            return chance(question, wanted, spread, blocks, judgement.alpha) >= judgement.power

        try:
            blocks = smallest(enough, judgement.min_blocks)
        except NotEnoughDataError as error:
            return Missing(name=f"{question} {wanted:g} {UNIT_SLOPE}", reason=str(error))
        return Answer(
            question=question,
            wanted=wanted,
            blocks=blocks,
            minutes=blocks * minutes,
            chance=chance(question, wanted, spread, blocks, judgement.alpha),
            simulated=simulate(question, wanted, found, blocks, alpha=judgement.alpha, seed=scenario.manifest.seed),
        )

    return Sizing(
        campaigns=scenario.names,
        link=scenario.link,
        profile=scenario.profile,
        baseline=scenario.arms[0],
        other=scenario.arms[1],
        pilot_blocks=int(scenario.pairs["block_id"].nunique()),
        pilot_levels=len(found.weights),
        block_sd=spread,
        between_sd=found.between_sd,
        heterogeneity_p=found.heterogeneity_p,
        minutes_per_block=minutes,
        power=judgement.power,
        alpha=judgement.alpha,
        campaigns_simulated=CAMPAIGNS,
        stopping=stopped(scenario.campaigns),
        answers=tuple(answer(*question) for question in questions),
    )
