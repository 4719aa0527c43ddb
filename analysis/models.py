"""The primary model.  Pure.

``ms ~ n * impl`` over the used trials: the coefficient ``n:impl`` is how much longer (positive) or shorter
the other arm takes than the baseline for each further process, in milliseconds.  Trials of one block share a
stretch of time and so their disturbances; the covariance is therefore clustered by block (CRV3, the cluster
jackknife), with Student's t on B - 1 degrees of freedom.  ``use_t=True`` must be said: with a ``cov_type``,
statsmodels' OLS otherwise takes the normal distribution, and ten blocks are far from normal.

Sources: EXPERIMENT.md section 6; MacKinnon, Nielsen and Webb 2023 for the cluster jackknife.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from statsmodels.regression import linear_model

from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate, Frozen, require, t_estimate

OLS: Any = linear_model.OLS
WLS: Any = linear_model.WLS
FORMULA = "ms ~ n * impl"
PARAMETERS = ("intercept", "offset", "slope", "difference")
UNIT_SLOPE = "ms per process"
UNIT_PERCENT = "% of the baseline's slope"
CLUSTERED = "OLS, CRV3 by block, t with B-1 df"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A fitted ``ms ~ n * impl``; parameters in the order of :data:`PARAMETERS`."""

    params: Floats
    covariance: Floats
    df: float
    residuals: Floats
    fitted: Floats

    @property
    def slope(self) -> float:
        """The baseline's slope, ms per process."""
        return float(self.params[2])

    @property
    def difference(self) -> float:
        """The other arm's slope minus the baseline's, ms per process."""
        return float(self.params[3])

    @property
    def residual_sd_ms(self) -> float:
        """Residual standard deviation of one trial."""
        return float(np.sqrt(self.residuals @ self.residuals / (len(self.residuals) - len(self.params))))

    def contrast(self, slope: float, difference: float) -> tuple[float, float]:
        """Value and standard error of ``slope`` slopes plus ``difference`` slope differences."""
        weights = np.array([0, 0, slope, difference])
        return float(weights @ self.params), float(np.sqrt(weights @ self.covariance @ weights))


def fit_clustered(rows: pd.DataFrame, weights: Floats | None = None) -> Fit:
    """The primary fit; with ``weights`` the same by weighted least squares.

    Args:
        rows: used trials with columns ms, n, arm (0 the baseline) and block_id.
        weights: one a row, proportional to 1 / variance.

    Raises:
        NotEnoughDataError: fewer than two blocks, or no slope without one of them.
    """
    require_slopes(rows)
    return _fit(rows, "", rows["block_id"], weights)


def fit_unclustered(rows: pd.DataFrame, cov_type: str) -> Fit:
    """The same model with another covariance: ``nonrobust`` (as in the paper) or ``HC3``."""
    require(len(rows) > 4 and rows["n"].nunique() > 1, "a slope needs two levels of n and more than four trials")
    return _fit(rows, cov_type, None, None)


def fit_by_block(model: Any, blocks: pd.Series) -> Any:
    """Fit a statsmodels model with CRV3 by block and Student's t.

    Raises:
        NotEnoughDataError: without one of the blocks the model has no unique solution.
    """
    kwds = {"groups": blocks.to_numpy()}
    try:
        return model.fit(cov_type="cluster-crv3", cov_kwds=kwds, use_t=True)
    except ValueError as error:
        raise NotEnoughDataError("without one of the blocks the model has no unique solution") from error


def _fit(rows: pd.DataFrame, cov_type: str, blocks: pd.Series | None, weights: Floats | None) -> Fit:
    """The formula's design made by hand, which is much faster; a test compares the two."""
    ms, design = rows["ms"].to_numpy(), design_matrix(rows)
    model = OLS(ms, design) if weights is None else WLS(ms, design, weights=weights)
    result = model.fit(cov_type=cov_type, use_t=True) if blocks is None else fit_by_block(model, blocks)
    return Fit(
        params=np.asarray(result.params),
        covariance=np.asarray(result.cov_params()),
        df=float(result.df_resid if blocks is None else blocks.nunique() - 1),
        residuals=np.asarray(result.resid),
        fitted=np.asarray(result.fittedvalues),
    )


def design_matrix(rows: pd.DataFrame) -> Floats:
    """The columns of :data:`FORMULA`, one a parameter of :data:`PARAMETERS`."""
    n, arm = rows["n"].to_numpy(dtype=float), rows["arm"].to_numpy(dtype=float)
    return np.column_stack([np.ones_like(n), arm, n, n * arm])


def require_slopes(rows: pd.DataFrame) -> None:
    """Raise unless two blocks are there, and two levels of n whichever block is taken away."""
    cells = set(zip(rows["block_id"].tolist(), rows["n"].tolist(), strict=True))
    blocks = {block for block, _ in cells}
    require(len(blocks) >= 2, f"an interval needs two blocks with complete pairs; blocks here: {len(blocks)}")
    for taken in blocks:
        left = {n for block, n in cells if block != taken}
        require(len(left) >= 2, "a slope needs two levels of n, whichever block is taken away")


class SlopeFit(Frozen):
    """What the primary fit says."""

    formula: str = FORMULA
    difference: Estimate = Field(description="slope difference, other minus baseline")
    baseline_slope: Estimate
    other_slope: Estimate
    baseline_intercept_ms: float
    offset_ms: float = Field(description="intercept difference, other minus baseline")
    residual_sd_ms: float = Field(description="of one trial")
    blocks: int
    pairs: int
    levels: int


def summarise(fit: Fit, rows: pd.DataFrame, alpha: float) -> SlopeFit:
    """The headline and its surroundings."""
    return SlopeFit(
        difference=slope_estimate(fit, "slope difference", 0, 1, alpha),
        baseline_slope=slope_estimate(fit, "baseline's slope", 1, 0, alpha),
        other_slope=slope_estimate(fit, "other's slope", 1, 1, alpha),
        baseline_intercept_ms=float(fit.params[0]),
        offset_ms=float(fit.params[1]),
        residual_sd_ms=fit.residual_sd_ms,
        blocks=int(rows["block_id"].nunique()),
        pairs=len(rows) // 2,
        levels=int(rows["n"].nunique()),
    )


def slope_estimate(
    fit: Fit, name: str, slope: float, difference: float, alpha: float, *, method: str = CLUSTERED
) -> Estimate:
    """An estimate of a combination of slopes, in ms per process."""
    value, error = fit.contrast(slope, difference)
    return t_estimate(name, value, error, unit=UNIT_SLOPE, df=fit.df, alpha=alpha, method=method)


def percent_of_slope(fit: Fit, alpha: float) -> Estimate:
    """The slope difference in percent of the baseline's slope, with the delta method's interval.

    Raises:
        NotEnoughDataError: the baseline's slope is not positive.
    """
    require(fit.slope > 0, "the baseline's slope is not positive, so nothing can be said in percent of it")
    value = 100 * fit.difference / fit.slope
    _, error = fit.contrast(-value / fit.slope, 100 / fit.slope)
    method = f"delta method on {CLUSTERED}"
    name = "slope difference in percent"
    return t_estimate(name, value, error, unit=UNIT_PERCENT, df=fit.df, alpha=alpha, method=method)
