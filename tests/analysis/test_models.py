from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols

from analysis import models
from analysis.errors import NotEnoughDataError
from analysis.selfcheck import used
from analysis.synthetic import Design, Truth, simulate

DESIGN = Design(levels=(1, 20, 40, 60, 80, 100), blocks=6)
ROWS = used(simulate(DESIGN, Truth(slope_difference_ms=-0.25, failure_rate=0.05), 1))
ALPHA = 0.05


def test_student_t_with_one_degree_less_than_blocks_is_really_used() -> None:
    """By hand: leave each block out, and take t with B - 1 degrees of freedom."""
    fit = models.fit_clustered(ROWS)
    design = np.column_stack([np.ones(len(ROWS)), ROWS["arm"], ROWS["n"], ROWS["arm"] * ROWS["n"]])
    ms, blocks = ROWS["ms"].to_numpy(), ROWS["block_id"].to_numpy()
    whole = np.linalg.lstsq(design, ms)[0]
    without = [np.linalg.lstsq(design[blocks != b], ms[blocks != b])[0] for b in np.unique(blocks)]
    count = len(without)
    error = np.sqrt((count - 1) / count * sum((estimate - whole)[3] ** 2 for estimate in without))
    assert fit.difference == pytest.approx(whole[3])
    estimate = models.summarise(fit, ROWS, ALPHA).difference
    half = stats.t.ppf(0.975, count - 1) * error
    assert estimate.standard_error == pytest.approx(error)
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx((whole[3] - half, whole[3] + half))
    assert estimate.p == pytest.approx(2 * stats.t.sf(abs(whole[3]) / error, count - 1))
    assert estimate.df == count - 1


def test_it_is_the_model_of_the_formula() -> None:
    """What a reader would write by hand gives the same numbers."""
    kwds = {"groups": ROWS["block_id"].to_numpy()}
    result = ols(models.FORMULA, ROWS).fit(cov_type="cluster-crv3", cov_kwds=kwds, use_t=True)
    estimate = models.summarise(models.fit_clustered(ROWS), ROWS, ALPHA).difference
    name = "n:impl[T.SSA]"
    assert estimate.value == pytest.approx(result.params[name])
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx(tuple(result.conf_int().loc[name]))
    assert estimate.p == pytest.approx(result.pvalues[name])


def test_recovers_exact_slopes_without_noise() -> None:
    silent = Truth(
        slope_ms=2.0, slope_difference_ms=0.5, intercept_ms=7.0, offset_ms=3.0, noise_ms=0, noise_fraction=0,
        block_sd_ms=0, block_slope_sd_ms=0,
    )  # fmt: skip
    rows = simulate(DESIGN, silent, 1)
    fit = models.fit_clustered(rows)
    assert fit.params == pytest.approx([7.0, 3.0, 2.0, 0.5])
    assert models.percent_of_slope(fit, ALPHA).value == pytest.approx(25.0)
    summary = models.summarise(fit, rows, ALPHA)
    assert summary.other_slope.value == pytest.approx(2.5)
    assert (summary.blocks, summary.pairs, summary.levels) == (6, 36, 6)


def test_what_both_arms_share_does_not_move_the_difference() -> None:
    fit = models.fit_clustered(ROWS)
    shared = ROWS.assign(ms=ROWS["ms"] + 3 * ROWS["n"] + 50 * ROWS["block"])
    moved = models.fit_clustered(shared)
    assert moved.difference == pytest.approx(fit.difference)
    assert moved.slope == pytest.approx(fit.slope + 3, abs=0.5)


def test_swapping_the_arms_changes_the_sign() -> None:
    swapped = ROWS.assign(arm=1 - ROWS["arm"])
    assert models.fit_clustered(swapped).difference == pytest.approx(-models.fit_clustered(ROWS).difference)


def test_percent_by_the_delta_method_matches_a_simulation() -> None:
    fit = models.fit_clustered(ROWS)
    estimate = models.percent_of_slope(fit, ALPHA)
    draws = np.random.default_rng(1).multivariate_normal(fit.params, fit.covariance, 200_000)
    simulated = np.std(100 * draws[:, 3] / draws[:, 2])
    assert estimate.value == pytest.approx(100 * fit.difference / fit.slope)
    assert estimate.standard_error == pytest.approx(simulated, rel=0.02)


def test_weights_move_the_estimate_towards_the_trusted_rows() -> None:
    heavy = np.where(ROWS["n"] <= 20, 1e9, 1.0)
    low = ROWS[ROWS["n"] <= 20]
    assert models.fit_clustered(ROWS, heavy).difference == pytest.approx(models.fit_clustered(low).difference, rel=1e-3)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (ROWS[:0], "blocks here: 0"),
        (ROWS[ROWS["block"] == 0], "blocks here: 1"),
        (ROWS[ROWS["n"] == 20], "two levels of n"),
        (ROWS[(ROWS["n"] == 20) | (ROWS["block"] == 0)], "two levels of n"),
    ],
)
def test_too_little_data_is_said(rows: pd.DataFrame, says: str) -> None:
    with pytest.raises(NotEnoughDataError, match=says):
        models.fit_clustered(rows)


def test_percent_needs_a_positive_slope() -> None:
    falling = ROWS.assign(ms=2000 - ROWS["ms"])
    with pytest.raises(NotEnoughDataError, match="not positive"):
        models.percent_of_slope(models.fit_clustered(falling), ALPHA)


def test_residuals_belong_to_the_rows() -> None:
    fit = models.fit_clustered(ROWS)
    assert fit.fitted + fit.residuals == pytest.approx(ROWS["ms"].to_numpy())
    noisy = used(simulate(DESIGN, replace(Truth(), noise_ms=40.0, noise_fraction=0, block_sd_ms=0), 2))
    assert models.fit_clustered(noisy).residual_sd_ms == pytest.approx(40, rel=0.25)
