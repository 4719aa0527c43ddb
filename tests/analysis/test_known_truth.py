"""The regression recovers a known truth.

How often an interval covers, or a test finds, is binomial; the tolerance is the central 99.9 % of that
distribution, computed (``analysis.selfcheck.tolerance``).  The campaigns have missing pairs, blocks with
slopes of their own, and noise that grows with n.  Seeds are fixed, so a result never changes by chance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis import selfcheck
from analysis.errors import NotEnoughDataError
from analysis.selfcheck import ALPHA, DESIGN, covers, finds, fits, plain, primary, redrawn, run, run_on, tolerance, used
from analysis.synthetic import Truth, simulate

CAMPAIGNS = 400
STILL = Truth(intercept_ms=400, noise_ms=20, noise_fraction=0, block_sd_ms=0, block_slope_sd_ms=0)
FEW = 150


def test_tolerance_is_computed_from_the_binomial() -> None:
    assert tolerance(400, 0.95) == (364, 393)
    assert tolerance(400, 0.05) == (7, 36)


def test_a_set_difference_is_covered_and_none_is_not_found() -> None:
    covered, found = run(CAMPAIGNS)
    assert covered.passed, str(covered)
    assert found.passed, str(found)


def test_the_check_itself_can_fail() -> None:
    """An interval that forgets the blocks is too short, and the same count says so."""
    truth = Truth(slope_difference_ms=-0.25, noise_ms=1, noise_fraction=0.001, block_slope_sd_ms=0.5)
    low, high = tolerance(FEW, 1 - ALPHA)
    assert low <= covers(fits(FEW, DESIGN, truth, primary), -0.25) <= high
    assert covers(fits(FEW, DESIGN, truth, plain), -0.25) < low


def test_drift_deceives_the_published_order_but_not_randomised_blocks() -> None:
    """EXPERIMENT.md section 2: slow drift, no true difference."""
    design = replace(DESIGN, levels=tuple(range(4, 101, 4)), blocks=10)
    drifting = replace(STILL, drift_ms=40, drift_trials=20)
    _, high = tolerance(FEW, ALPHA)
    assert finds(fits(FEW, replace(design, order="published"), STILL, plain)) <= high
    assert finds(fits(FEW, replace(design, order="published"), drifting, plain)) > 2 * high
    assert finds(fits(FEW, design, drifting, primary)) <= high


def test_used_drops_whole_pairs() -> None:
    rows = simulate(DESIGN, Truth(failure_rate=0.2), 1)
    kept = used(rows)
    assert not kept["fails"].any()
    assert (kept.groupby(["block_id", "pair"]).size() == 2).all()
    assert 0 < len(kept) < len(rows)


@pytest.mark.parametrize(("hits", "passed"), [(363, False), (364, True), (393, True), (394, False)])
def test_a_result_knows_its_bounds(hits: int, passed: bool) -> None:
    result = selfcheck.Result("claim", hits, CAMPAIGNS, *tolerance(CAMPAIGNS, 0.95))
    assert result.passed is passed
    assert str(result).startswith("ok" if passed else "FAIL")


def test_recorded_residuals_drawn_anew_keep_the_promise_too() -> None:
    """Noise that no formula made: heavy tails, and blocks with lines of their own."""
    design = replace(DESIGN, blocks=10)
    rows = simulate(design, replace(STILL, block_slope_sd_ms=0.1), 5).assign(campaign_index=0)
    heavy = np.random.default_rng(1).standard_t(3, len(rows)) * 10
    for result in run_on(rows.assign(ms=rows["ms"] + heavy), 50):
        assert result.passed, str(result)


def test_a_redrawn_campaign_has_the_set_difference_and_the_recorded_spread() -> None:
    rows = simulate(DESIGN, replace(STILL, slope_difference_ms=3.0, block_slope_sd_ms=0.2), 6)
    rng = np.random.default_rng(2)
    drawn = [redrawn(rows, -0.25, rng) for _ in range(60)]
    estimates = [primary(one) for one in drawn]
    middle = np.mean([estimate.value for estimate in estimates])
    assert middle == pytest.approx(-0.25, abs=3 * np.std([e.value for e in estimates]) / np.sqrt(60))
    recorded = primary(rows)
    assert np.mean([e.standard_error for e in estimates]) == pytest.approx(recorded.standard_error, rel=0.35)
    assert all((one["n"] == rows["n"]).all() and (one["arm"] == rows["arm"]).all() for one in drawn)


def test_a_block_with_two_levels_has_no_residuals_of_its_own() -> None:
    rows = simulate(replace(DESIGN, levels=(1, 100)), Truth(), 1)
    with pytest.raises(NotEnoughDataError, match="three levels in each block"):
        run_on(rows, 50)
