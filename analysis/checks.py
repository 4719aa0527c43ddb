"""The same question asked in other ways, each of which must agree with the primary fit.  Pure, seeded.

With complete, equal blocks three of them give the primary result to the last digit, by algebra (the
regression of pair differences, the slopes by block, and the primary fit see the same contrasts); they part
only where pairs are missing, and a difference elsewhere is a mistake in the program.  HC3, weighted least
squares, the position in the pair, the permutation and the fit without outliers rest on other assumptions.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from analysis.estimates import Estimate, Frozen, Missing, Result, or_missing, require, t_estimate
from analysis.models import (
    CLUSTERED,
    OLS,
    UNIT_SLOPE,
    Fit,
    Floats,
    fit_by_block,
    fit_clustered,
    fit_unclustered,
    require_slopes,
    slope_estimate,
)

PERMUTATIONS = 9999
CHUNK = 1000
OUTLIER_Z = 5.0
MIN_ALIKE = 20
MAX_BINS = 10
TINY = 1e-12
MAD_TO_SD = 1.4826


def pair_differences(pairs: pd.DataFrame, alpha: float) -> Estimate:
    """Regress the pairs' differences on n, clustered by block."""
    require_slopes(pairs)
    design = np.column_stack([np.ones(len(pairs)), pairs["n"]])
    result = fit_by_block(OLS(pairs["diff"].to_numpy(), design), pairs["block_id"])
    method, df = f"differences of pairs on n, {CLUSTERED}", pairs["block_id"].nunique() - 1
    return _estimate("pair differences", result.params[1], result.bse[1], df=df, alpha=alpha, method=method)


def _estimate(name: str, value: float, error: float, *, df: float, alpha: float, method: str) -> Estimate:
    return t_estimate(name, float(value), float(error), unit=UNIT_SLOPE, df=df, alpha=alpha, method=method)


def slopes_by_block(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each block's ``slope_0``, ``slope_1`` and ``difference``, ms per process; NaN with one level only."""
    centred = pairs["n"] - pairs.groupby("block_id")["n"].transform("mean")
    groups = pairs["block_id"]
    spread = (centred**2).groupby(groups).sum()
    spread = spread.where(spread > 0)
    slopes = {f"slope_{arm}": (centred * pairs[f"ms_{arm}"]).groupby(groups).sum() / spread for arm in (0, 1)}
    table = pd.DataFrame(slopes)
    return table.assign(difference=table["slope_1"] - table["slope_0"])


def block_slopes(pairs: pd.DataFrame, alpha: float) -> Estimate:
    """One slope a block and arm, then a paired t test."""
    differences = slopes_by_block(pairs)["difference"].dropna()
    count = len(differences)
    require(count >= 2, f"a paired t test needs two blocks with a slope; blocks here: {count}")
    error = float(differences.std(ddof=1) / np.sqrt(count))
    method = "one slope per block and arm, paired t"
    return _estimate("slopes by block", differences.mean(), error, df=count - 1, alpha=alpha, method=method)


def hc3(rows: pd.DataFrame, alpha: float) -> Estimate:
    """The primary model with HC3: every trial on its own, blocks ignored."""
    fit = fit_unclustered(rows, "HC3")
    return slope_estimate(fit, "HC3", 0, 1, alpha, method="OLS, HC3, trials independent")


def variance_power(rows: pd.DataFrame, residuals: Floats) -> float:
    """The variance of a trial is about n to this power: least squares on the logarithms of the squared residuals."""
    log_n = np.log(rows["n"].to_numpy(dtype=float))
    return float(np.polyfit(log_n, np.log(np.maximum(residuals**2, TINY)), 1)[0])


def weighted(rows: pd.DataFrame, fit: Fit, alpha: float) -> Estimate:
    """Weighted least squares: the variance is taken to be a power of n, fitted to the primary residuals."""
    power = variance_power(rows, fit.residuals)
    weighted_fit = fit_clustered(rows, rows["n"].to_numpy(dtype=float) ** -power)
    method = f"WLS, variance ~ n^{power:.2f}, CRV3 by block"
    return slope_estimate(weighted_fit, "weighted", 0, 1, alpha, method=method)


def allowing_for_position(pairs: pd.DataFrame, alpha: float) -> Estimate:
    """Pair differences on n and on which arm came first: order must not pass for the stack."""
    require_slopes(pairs)
    require(pairs["position_0"].nunique() == 2, "every pair was run in the same order")
    design = np.column_stack([np.ones(len(pairs)), pairs["n"], pairs["position_0"] - 0.5])
    result = fit_by_block(OLS(pairs["diff"].to_numpy(), design), pairs["block_id"])
    method = f"differences of pairs on n and order; going second costs {result.params[2] / -2:+.3g} ms"
    df = pairs["block_id"].nunique() - 1
    return _estimate("order in the pair", result.params[1], result.bse[1], df=df, alpha=alpha, method=method)


class Permutation(Frozen):
    """A test without a distribution's name."""

    name: str = "permutation"
    p: float = Field(description="two-sided; at least 1 / (flips + 1)")
    flips: int
    method: str = "signs of the centred pair differences flipped at random, statistic: slope on n"


def permutation(pairs: pd.DataFrame, seed: int) -> Permutation:
    """Flip the signs of the centred pair differences at random, and count how often the slope is as large."""
    require(pairs["n"].nunique() >= 2, "a slope needs two levels of n")
    centred_n = (pairs["n"] - pairs["n"].mean()).to_numpy(dtype=np.float32)
    terms = centred_n * (pairs["diff"] - pairs["diff"].mean()).to_numpy(dtype=np.float32)
    observed, extreme = abs(float(terms.sum())), 0
    rng = np.random.default_rng(seed)
    for start in range(0, PERMUTATIONS, CHUNK):
        count = min(CHUNK, PERMUTATIONS - start)
        bits = np.unpackbits(rng.integers(0, 256, (count, -(-len(terms) // 8)), np.uint8), axis=1)
        flipped = 2 * (bits[:, : len(terms)].astype(np.float32) @ terms) - terms.sum()
        extreme += int((np.abs(flipped) >= observed * (1 - 1e-6)).sum())
    return Permutation(p=(1 + extreme) / (1 + PERMUTATIONS), flips=PERMUTATIONS)


def outliers(rows: pd.DataFrame, residuals: Floats) -> pd.Series:
    """Classify the used trials: '' for usual, else 'slow' or 'fast'.

    Residuals are divided by the spread that their n should have.  A trial is unusual when its residual then
    is more than :data:`OUTLIER_Z` robust standard deviations (by the median absolute deviation) from the
    median of its like: trials of its arm and of similar n, at least :data:`MIN_ALIKE` of them.  Where there
    are fewer nobody knows what is usual, and nothing is classified.
    """
    usual = pd.Series("", index=rows.index, dtype=object)
    bins = min(len(rows) // 2 // MIN_ALIKE, MAX_BINS)
    if bins == 0:
        return usual
    scaled = residuals / rows["n"].to_numpy(dtype=float) ** (variance_power(rows, residuals) / 2)
    ranks = (rows["n"].rank(method="average", pct=True).to_numpy() * bins).astype(int).clip(0, bins - 1)
    like = [rows["arm"].to_numpy(), ranks]
    away = pd.Series(scaled).groupby(like).transform(lambda values: values - values.median())
    scale = MAD_TO_SD * away.abs().groupby(like).transform("median")
    z = (away / scale.where(scale > 0)).to_numpy()
    return usual.mask(z > OUTLIER_Z, "slow").mask(z < -OUTLIER_Z, "fast")


def without_outliers(rows: pd.DataFrame, unusual: pd.Series, alpha: float) -> Estimate:
    """The primary fit without the pairs that hold an unusual trial; shown, never used for the verdict."""
    pair = rows[["block_id", "pair"]].apply(tuple, axis=1)
    bad = set(pair[unusual != ""])
    kept = rows[~pair.isin(bad)]
    method = f"{CLUSTERED}, without the {len(bad)} pairs that hold an unusual trial"
    return slope_estimate(fit_clustered(kept), "without outliers", 0, 1, alpha, method=method)


class Checks(Frozen):
    """All of them, and whether they agree with the primary estimate."""

    estimates: tuple[Result, ...]
    permutation: Permutation | Missing
    disagreements: tuple[str, ...] = Field(description="one sentence each; empty when all that exist agree")


def run(rows: pd.DataFrame, pairs: pd.DataFrame, fit: Fit, unusual: pd.Series, *, alpha: float, seed: int) -> Checks:
    """Ask in every way; what the data do not allow is Missing, with the reason."""
    estimates = (
        or_missing("pair differences", pair_differences, pairs, alpha),
        or_missing("slopes by block", block_slopes, pairs, alpha),
        or_missing("HC3", hc3, rows, alpha),
        or_missing("weighted", weighted, rows, fit, alpha),
        or_missing("order in the pair", allowing_for_position, pairs, alpha),
        or_missing("without outliers", without_outliers, rows, unusual, alpha),
    )
    flips = or_missing("permutation", permutation, pairs, seed)
    primary = slope_estimate(fit, "primary", 0, 1, alpha)
    return Checks(estimates=estimates, permutation=flips, disagreements=_disagreements(primary, estimates, flips))


def _disagreements(primary: Estimate, others: tuple[Result, ...], flips: Permutation | Missing) -> tuple[str, ...]:
    """A check disagrees outside the primary interval; the permutation when it decides otherwise."""
    found = [
        f"{other.name}: {other.value:.4g} lies outside the primary interval"
        for other in others
        if isinstance(other, Estimate) and not primary.ci_low <= other.value <= primary.ci_high
    ]
    alpha = 1 - primary.level
    if isinstance(flips, Permutation) and (flips.p < alpha) != (primary.p < alpha):
        found.append(f"permutation: p = {flips.p:.3g}, but the primary fit has p = {primary.p:.3g}")
    return tuple(found)
