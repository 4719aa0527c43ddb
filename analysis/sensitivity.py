"""Would another, equally defensible choice have said something else?  Fits beside the primary one.  Pure.

None of them is used for the verdict, and none is part of ``verdict.json``: they are shown in the report and in
the terminal.  The checks ask the same question with other assumptions about the noise; these ask about the
choice of trials and the shape of the model.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as _stats
from statsmodels.regression import mixed_linear_model

from analysis import models
from analysis.checks import slopes_by_block
from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate, Result, or_missing, require, t_estimate
from analysis.frames import Scenario
from analysis.models import CLUSTERED, OLS, UNIT_SLOPE, fit_by_block, fit_clustered, require_slopes, slope_estimate

stats: Any = _stats
MixedLM: Any = mixed_linear_model.MixedLM
LEVEL_SCALE = 100
"""n counts in hundreds while a mixed model is searched for, so that its parameters are of one size."""


def sensitivity(scenario: Scenario, alpha: float) -> tuple[Result, ...]:
    """Every fit, in ms per process; what the data do not allow is Missing, with the reason."""
    rows, pairs = scenario.rows, scenario.pairs
    return (
        or_missing("bent lines", bent, pairs, alpha),
        or_missing("smaller half of n", half, rows, alpha, larger=False),
        or_missing("larger half of n", half, rows, alpha, larger=True),
        or_missing("first half of the blocks", stretch, rows, alpha, later=False),
        or_missing("second half of the blocks", stretch, rows, alpha, later=True),
        or_missing("median block", median_block, pairs, alpha),
        or_missing("mixed model", mixed, rows, alpha),
    )


def bent(pairs: pd.DataFrame, alpha: float) -> Estimate:
    """Allow for a curve: the differences of pairs on n and its square; their mean slope over the levels."""
    require_slopes(pairs)
    require(pairs["n"].nunique() >= 3, "a curve needs three levels of n")
    n = pairs["n"].to_numpy(dtype=float)
    middle = n.mean()
    design = np.column_stack([np.ones_like(n), n - middle, (n - middle) ** 2])
    result = fit_by_block(OLS(pairs["diff"].to_numpy(), design), pairs["block_id"])
    return t_estimate(
        "bent lines",
        float(result.params[1]),
        float(result.bse[1]),
        unit=UNIT_SLOPE,
        df=pairs["block_id"].nunique() - 1,
        alpha=alpha,
        method=f"differences of pairs on n and n squared, slope at the mean n, {CLUSTERED}",
    )


def mixed(rows: pd.DataFrame, alpha: float) -> Estimate:
    """The primary model with a random intercept, slope and slope difference a block (EXPERIMENT.md section 6).

    Restricted maximum likelihood; Student's t with B - 1 degrees of freedom, as in the primary fit. A variance that is
    estimated as zero lies on the boundary of what it can be and is no failure; a search that does not end is one.
    """
    require_slopes(rows)
    design = models.design_matrix(rows) / np.array([1, 1, LEVEL_SCALE, LEVEL_SCALE])
    model = MixedLM(rows["ms"].to_numpy(), design, groups=rows["block_id"].to_numpy(), exog_re=design[:, [0, 2, 3]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            result = model.fit(reml=True, method=["lbfgs", "powell"])
        except (np.linalg.LinAlgError, ValueError) as problem:
            raise NotEnoughDataError(f"the mixed model cannot be fitted: {problem}") from None
        value, error = float(result.fe_params[3]), float(result.bse_fe[3])
    require(result.converged and np.isfinite(error), "the mixed model's likelihood has no maximum that was found")
    return t_estimate(
        "mixed model",
        value / LEVEL_SCALE,
        error / LEVEL_SCALE,
        unit=UNIT_SLOPE,
        df=rows["block_id"].nunique() - 1,
        alpha=alpha,
        method="REML; random intercept, slope and slope difference by block, t with B-1 df",
    )


def half(rows: pd.DataFrame, alpha: float, *, larger: bool) -> Estimate:
    """The primary fit on one half of the levels."""
    middle = float(np.median(rows["n"].unique())) if len(rows) else 0.0
    kept = rows[rows["n"] >= middle] if larger else rows[rows["n"] <= middle]
    sign, name = (">=", "larger half of n") if larger else ("<=", "smaller half of n")
    return slope_estimate(fit_clustered(kept), name, 0, 1, alpha, method=f"n {sign} {middle:g} only, {CLUSTERED}")


def stretch(rows: pd.DataFrame, alpha: float, *, later: bool) -> Estimate:
    """The primary fit on one half of the blocks, in the order of execution."""
    blocks = list(rows["block_id"].unique())  # of rows in the order of execution; the names sort otherwise
    middle = len(blocks) // 2
    kept = blocks[middle:] if later else blocks[:middle]
    name = "second half of the blocks" if later else "first half of the blocks"
    fit = fit_clustered(rows[rows["block_id"].isin(kept)])
    return slope_estimate(fit, name, 0, 1, alpha, method=f"{len(kept)} of {len(blocks)} blocks, {CLUSTERED}")


def median_block(pairs: pd.DataFrame, alpha: float) -> Estimate:
    """The median of the blocks' slopes: what one wild block cannot move.

    The interval is between two of the ordered slopes (sign test), at least of the level that is asked for, and
    the p value the sign test's.

    Raises:
        NotEnoughDataError: too few blocks for an interval of that level.
    """
    slopes = np.sort(slopes_by_block(pairs)["difference"].dropna().to_numpy())
    count = len(slopes)
    least = int(np.ceil(1 - np.log2(alpha)))
    require(count >= least, f"the sign test's interval needs {least} blocks with a slope; blocks here: {count}")
    cut = int(stats.binom.ppf(alpha / 2, count, 0.5))
    cut -= int(stats.binom.cdf(cut, count, 0.5) > alpha / 2)
    signs = int((slopes > 0).sum())
    return Estimate(
        name="median block",
        unit=UNIT_SLOPE,
        value=float(np.median(slopes)),
        standard_error=None,
        ci_low=float(slopes[cut]),
        ci_high=float(slopes[count - 1 - cut]),
        level=1 - alpha,
        p=float(stats.binomtest(signs, count).pvalue),
        df=count - 1,
        method=f"median of the slopes of {count} blocks, sign test",
    )
