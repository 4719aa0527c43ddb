"""What this design could have seen.  Pure.

Power of the primary two-sided test for a slope difference of ``relevant_ms_per_process``, from Student's
non-central t with B - 1 degrees of freedom.  The standard error is that of the pair differences' residuals,
which B blocks of L levels know well; only when the blocks' slopes vary more than these residuals explain
(Cochran's Q, 5 %), the clustered one is used, which knows little of itself with few blocks.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import optimize as _optimize
from scipy import stats as _stats

from analysis.checks import slopes_by_block
from analysis.estimates import Frozen, Missing, or_missing, require
from analysis.models import Fit, Floats
from harness.records import Judgement

stats: Any = _stats
optimize: Any = _optimize
HETEROGENEITY_ALPHA = 0.05
QUADRATURE_NODES = 200
MAX_SHIFT = 1e4


class Power(Frozen):
    """Of the primary test in this design."""

    effect_ms_per_process: float
    power: float
    detectable_ms_per_process: float = Field(description="seen with the power that the plan demands")
    standard_error: float = Field(description="ms per process")
    basis: str
    heterogeneity_p: float = Field(description="of Cochran's Q: do the blocks' slopes differ?")


class Design(Frozen):
    """Whether the design is good enough for a verdict."""

    power: Power | Missing
    required_power: float
    complete_blocks: int
    min_blocks: int
    underpowered: bool
    reasons: tuple[str, ...] = Field(description="why underpowered, one sentence each")


@cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_NODES)
    return nodes, weights


def power_of(effect: float, standard_error: float, df: float, alpha: float) -> float:
    """Probability that the two-sided t test finds ``effect``, given the standard error it will have.

    The normal probability, averaged over the chi-square distribution of the estimated variance
    (Gauss-Legendre in its quantiles): the non-central t, without the overflow that library versions of it
    have for large effects. A standard error of zero finds anything but nothing.
    """
    if standard_error == 0:
        return 1.0 if effect else alpha
    nodes, weights = _quadrature()
    scale = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, df) / df)
    critical, shift = stats.t.ppf(1 - alpha / 2, df) * scale, abs(effect) / standard_error
    found = stats.norm.cdf(shift - critical) + stats.norm.cdf(-shift - critical)
    return float(weights @ found / 2)


def detectable(power: float, standard_error: float, df: float, alpha: float) -> float:
    """The smallest effect that is found with probability ``power``."""
    if standard_error == 0:
        return 0.0
    shift = optimize.brentq(lambda x: power_of(x, 1.0, df, alpha) - power, 0, MAX_SHIFT)
    return float(shift * standard_error)


def power(pairs: pd.DataFrame, fit: Fit, judgement: Judgement) -> Power:
    """At the observed residuals."""
    error, basis, unlike_p = _standard_error(pairs, fit)
    effect, alpha = judgement.relevant_ms_per_process, judgement.alpha
    return Power(
        effect_ms_per_process=effect,
        power=power_of(effect, error, fit.df, alpha),
        detectable_ms_per_process=detectable(judgement.power, error, fit.df, alpha),
        standard_error=error,
        basis=basis,
        heterogeneity_p=unlike_p,
    )


def _standard_error(pairs: pd.DataFrame, fit: Fit) -> tuple[float, str, float]:
    n, difference = pairs["n"].to_numpy(dtype=float), pairs["diff"].to_numpy()
    require(len(n) > 2, "power needs more than two pairs")
    centred = n - n.mean()
    slope = centred @ difference / (centred @ centred)
    residuals = difference - difference.mean() - slope * centred
    variance = residuals @ residuals / (len(n) - 2)
    unlike_p = heterogeneity_p(pairs, variance)
    if unlike_p < HETEROGENEITY_ALPHA:
        _, clustered = fit.contrast(0, 1)
        return clustered, "clustered by block: the blocks' slopes vary", unlike_p
    return (
        float(np.sqrt(variance / (centred @ centred))),
        "residuals of the pair differences",
        unlike_p,
    )


def heterogeneity_p(pairs: pd.DataFrame, variance: float) -> float:
    """Of Cochran's Q, whether the blocks' slopes differ by more than pairs of this variance explain."""
    slopes = slopes_by_block(pairs)["difference"].dropna()
    spread = pairs.groupby("block_id")["n"].agg(lambda n: float(((n - n.mean()) ** 2).sum()))[slopes.index]
    if variance == 0 or len(slopes) < 2:
        return 1.0
    mean = (spread * slopes).sum() / spread.sum()
    q = float((spread * (slopes - mean) ** 2).sum() / variance)
    return float(stats.chi2.sf(q, len(slopes) - 1))


def assess(pairs: pd.DataFrame, fit: Fit | Missing, complete_blocks: int, judgement: Judgement) -> Design:
    """Underpowered when the power or the number of complete blocks is below what the plan demands."""
    if isinstance(fit, Missing):
        found: Power | Missing = Missing(name="power", reason=fit.reason)
    else:
        found = or_missing("power", power, pairs, fit, judgement)
    reasons = _reasons(found, complete_blocks, judgement)
    return Design(
        power=found,
        required_power=judgement.power,
        complete_blocks=complete_blocks,
        min_blocks=judgement.min_blocks,
        underpowered=bool(reasons),
        reasons=reasons,
    )


def _reasons(found: Power | Missing, complete_blocks: int, judgement: Judgement) -> tuple[str, ...]:
    reasons = []
    if complete_blocks < judgement.min_blocks:
        reasons.append(f"complete blocks: {complete_blocks}, and the plan demands {judgement.min_blocks}")
    if isinstance(found, Missing):
        reasons.append(f"power is unknown: {found.reason}")
    elif found.power < judgement.power:
        reasons.append(
            f"power {found.power:.2f} to see {found.effect_ms_per_process:g} ms per process, "
            f"and the plan demands {judgement.power:g}"
        )
    return tuple(reasons)
