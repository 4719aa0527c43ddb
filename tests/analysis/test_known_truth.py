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
from analysis.selfcheck import (
    ALPHA,
    DESIGN,
    RULE,
    RULE_COVERAGE,
    RULE_DESIGN,
    block_slopes,
    covers,
    ended,
    finds,
    fits,
    plain,
    primary,
    redrawn,
    run,
    run_on,
    tempted,
    tolerance,
    used,
)
from analysis.synthetic import Truth, simulate
from harness.records import Stopping

CAMPAIGNS = 400
STILL = Truth(intercept_ms=400, noise_ms=20, noise_fraction=0, block_sd_ms=0, block_slope_sd_ms=0)
FEW = 150


def test_tolerance_is_computed_from_the_binomial() -> None:
    assert tolerance(400, 0.95) == (364, 393)
    assert tolerance(400, 0.05) == (7, 36)


def test_a_set_difference_is_covered_and_none_is_not_found() -> None:
    results = run(CAMPAIGNS)
    assert len(results) == 6  # of a fixed number of blocks, ended by the width, and what else could have been done
    for result in results:
        assert result.passed, str(result)


def test_the_quick_way_to_look_is_the_primary_fit() -> None:
    rows = simulate(RULE_DESIGN, Truth(), 3)
    whole, early = Stopping(half_width_ms=1e-9), Stopping(half_width_ms=1000)
    first = rows[rows["block"] < early.min_blocks]
    for quick, slow in (
        (ended(block_slopes(rows), whole), primary(rows)),
        (ended(block_slopes(rows), early), primary(first)),
    ):
        assert (quick.value, quick.ci_low, quick.p, quick.df) == pytest.approx(
            (slow.value, slow.ci_low, slow.p, slow.df), rel=1e-9
        )


def test_ending_when_something_is_found_would_find_something_where_nothing_is() -> None:
    """Why the rule knows widths only: the same looks, asked for significance, deceive."""
    _, high = tolerance(FEW, 1 - RULE_COVERAGE)
    found = [0, 0]
    for seed in range(FEW):
        slopes = block_slopes(simulate(RULE_DESIGN, Truth(), seed))
        found[0] += ended(slopes, RULE).p < ALPHA
        found[1] += tempted(slopes, RULE).p < ALPHA
    assert found[0] <= high
    assert found[1] > high


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
