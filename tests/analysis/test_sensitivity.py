"""Fits beside the primary one, on campaigns whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate, Missing
from analysis.frames import Scenario, paired
from analysis.load import load
from analysis.models import fit_clustered
from analysis.pooling import scenario
from analysis.selfcheck import tolerance
from analysis.sensitivity import bent, median_block, mixed, sensitivity, stretch
from analysis.synthetic import Design, Truth, simulate

DESIGN = Design(levels=tuple(range(10, 101, 10)), blocks=12)
STEADY = Truth(intercept_ms=400, noise_ms=5, noise_fraction=0, block_slope_sd_ms=0, slope_difference_ms=0.5)


def pairs_of(truth: Truth, seed: int, design: Design = DESIGN) -> pd.DataFrame:
    return paired(simulate(design, truth, seed).assign(campaign_index=0))


@pytest.fixture(scope="module")
def place(full: Path) -> Scenario:
    return scenario([load(full)])


def test_the_mixed_model_has_the_primary_value_where_the_design_is_complete(place: Scenario) -> None:
    """Balanced blocks: the same contrast, and a standard error of its own."""
    found, primary = mixed(place.rows, 0.05), fit_clustered(place.rows)
    assert found.value == pytest.approx(primary.difference, rel=1e-6)
    assert found.standard_error == pytest.approx(primary.contrast(0, 1)[1], rel=0.5)


def test_a_mixed_model_that_cannot_be_fitted_is_told(place: Scenario) -> None:
    unmeasured = place.rows.assign(ms=np.inf)
    with pytest.raises(NotEnoughDataError, match="mixed model"):
        mixed(unmeasured, 0.05)


def test_every_fit_finds_the_truth(place: Scenario) -> None:
    found = sensitivity(place, 0.01)
    assert len(found) == 7
    for result in found:
        assert isinstance(result, Estimate), result
        assert result.ci_low <= 0.1 <= result.ci_high, result


def test_a_difference_in_one_half_only_shows_there(place: Scenario) -> None:
    rows = place.rows
    last = sorted(rows["block_id"].unique())[5:]
    shift = 2.0 * rows["n"] * rows["arm"] * rows["block_id"].isin(last)
    halves = {
        result.name: result for result in sensitivity(replace(place, rows=rows.assign(ms=rows["ms"] + shift)), 0.001)
    }
    first, second = halves["first half of the blocks"], halves["second half of the blocks"]
    assert isinstance(first, Estimate)
    assert isinstance(second, Estimate)
    assert first.ci_low <= 0.1 <= first.ci_high
    assert second.ci_low <= 2.1 <= second.ci_high


def test_a_bend_is_allowed_for() -> None:
    pairs = pairs_of(STEADY, 3)
    plain, curved = (bent(pairs.assign(diff=pairs["diff"] + k * (pairs["n"] - 55) ** 2), 0.05) for k in (0.0, 0.02))
    assert curved.value == pytest.approx(plain.value)
    assert curved.ci_low <= 0.5 <= curved.ci_high


def test_one_wild_block_does_not_move_the_median_block() -> None:
    pairs = pairs_of(STEADY, 4)
    wild = pairs["block_id"] == pairs["block_id"].min()
    moved = median_block(pairs.assign(diff=pairs["diff"] + 50 * pairs["n"] * wild), 0.05)
    assert moved.ci_low <= 0.5 <= moved.ci_high
    assert moved.value == pytest.approx(0.5, abs=0.1)


def test_the_median_blocks_interval_covers_at_least_as_often_as_it_says() -> None:
    count = 100
    quick = replace(DESIGN, levels=(1, 50, 100), blocks=9)
    found = [median_block(pairs_of(STEADY, seed, quick), 0.05) for seed in range(count)]
    low, _ = tolerance(count, 0.95)
    assert sum(one.ci_low <= 0.5 <= one.ci_high for one in found) >= low
    assert not all(one.ci_low <= 0.5 <= one.ci_high for one in found)


@pytest.mark.parametrize("blocks", [6, 9, 12])
def test_the_sign_tests_interval_and_p_value_agree(blocks: int) -> None:
    pairs = pairs_of(replace(STEADY, slope_difference_ms=0.05), 5, replace(DESIGN, blocks=blocks))
    one = median_block(pairs, 0.05)
    assert (one.p < 0.05) == (one.ci_low > 0 or one.ci_high < 0)


def test_few_blocks_have_reasons(place: Scenario) -> None:
    few = place.rows["block_id"].isin(sorted(place.rows["block_id"].unique())[:3])
    in_few = place.pairs["block_id"].isin(place.rows["block_id"][few].unique())
    found = sensitivity(replace(place, rows=place.rows[few], pairs=place.pairs[in_few]), 0.05)
    reasons = {one.name: one.reason for one in found if isinstance(one, Missing)}
    assert "needs 6 blocks" in reasons["median block"]
    assert "two blocks" in reasons["first half of the blocks"]
    assert np.isfinite([one.value for one in found if isinstance(one, Estimate)]).all()


def test_halves_of_the_blocks_are_in_the_order_of_execution() -> None:
    """Of twelve pooled campaigns the eleventh ran after the third, whatever its blocks are called."""
    rows = simulate(DESIGN, STEADY, 3)
    renamed = rows.assign(block_id=[f"{block}.000" for block in rows["block"]])
    assert stretch(renamed, 0.05, later=True).value == stretch(rows, 0.05, later=True).value
