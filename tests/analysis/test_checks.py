from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import checks
from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate, Missing
from analysis.frames import paired
from analysis.models import fit_clustered, slope_estimate
from analysis.selfcheck import used
from analysis.synthetic import Design, Truth, simulate

DESIGN = Design(levels=(1, 20, 40, 60, 80, 100), blocks=6)
ALPHA = 0.05


def frames(truth: Truth, seed: int = 1, design: Design = DESIGN) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = used(simulate(design, truth, seed)).assign(campaign_index=0).reset_index(drop=True)
    return rows, paired(rows)


WHOLE = frames(Truth(slope_difference_ms=-0.3))
HOLED = frames(Truth(slope_difference_ms=-0.3, failure_rate=0.08))


def primary(rows: pd.DataFrame) -> Estimate:
    return slope_estimate(fit_clustered(rows), "primary", 0, 1, ALPHA)


def run(rows: pd.DataFrame, pairs: pd.DataFrame) -> checks.Checks:
    fit = fit_clustered(rows)
    return checks.run(rows, pairs, fit, checks.outliers(rows, fit.residuals), alpha=ALPHA, seed=1)


@pytest.mark.parametrize("check", [checks.pair_differences, checks.block_slopes])
def test_whole_blocks_give_the_primary_result_by_algebra(check) -> None:
    rows, pairs = WHOLE
    mine, theirs = primary(rows), check(pairs, ALPHA)
    assert (theirs.value, theirs.standard_error) == pytest.approx((mine.value, mine.standard_error))
    assert (theirs.ci_low, theirs.p, theirs.df) == pytest.approx((mine.ci_low, mine.p, mine.df))


def test_holes_make_them_differ_a_little() -> None:
    rows, pairs = HOLED
    slopes = checks.block_slopes(pairs, ALPHA)
    assert slopes.value != pytest.approx(primary(rows).value, rel=1e-6)
    assert abs(slopes.value - primary(rows).value) < primary(rows).standard_error


def test_hc3_has_the_same_estimate_and_its_own_error() -> None:
    rows, _ = WHOLE
    found = checks.hc3(rows, ALPHA)
    assert found.value == pytest.approx(primary(rows).value)
    assert found.standard_error != pytest.approx(primary(rows).standard_error, rel=1e-3)
    assert found.df == len(rows) - 4


def test_weighting_finds_the_power_of_the_variance() -> None:
    design = Design(levels=tuple(range(2, 101, 2)), blocks=10)
    truth = Truth(intercept_ms=0, noise_ms=0, noise_fraction=0.02, block_sd_ms=0, block_slope_sd_ms=0)
    rows, _ = frames(truth, design=design)
    found = checks.weighted(rows, fit_clustered(rows), ALPHA)
    assert 1.8 < float(found.method.split("n^")[1].split(",")[0]) < 2.2
    assert found.standard_error < primary(rows).standard_error


def test_an_effect_of_the_order_is_taken_out_and_named() -> None:
    rows, _ = WHOLE
    second = rows.assign(ms=rows["ms"] + 500.0 * rows["position"])
    found = checks.allowing_for_position(paired(second), ALPHA)
    assert found.ci_low < -0.3 < found.ci_high
    assert 490 < float(found.method.split("costs ")[1].removesuffix(" ms")) < 510


def test_a_fixed_order_cannot_be_allowed_for() -> None:
    rows = simulate(replace(DESIGN, order="published"), Truth(), 1).assign(campaign_index=0)
    with pytest.raises(NotEnoughDataError, match="same order"):
        checks.allowing_for_position(paired(rows), ALPHA)


def test_permutation_is_seeded_and_finds_what_is_there() -> None:
    _, pairs = WHOLE
    assert checks.permutation(pairs, 1) == checks.permutation(pairs, 1)
    assert checks.permutation(pairs, 1).p < 0.01
    _, nothing = frames(Truth(), seed=2)
    assert checks.permutation(nothing, 1).p > 0.05


def test_permutation_of_few_pairs_matches_all_sign_flips() -> None:
    _, pairs = frames(Truth(noise_ms=10, slope_difference_ms=0.2), design=Design(levels=(1, 50, 100), blocks=3))
    centred = (pairs["n"] - pairs["n"].mean()) * (pairs["diff"] - pairs["diff"].mean())
    terms = centred.to_numpy()
    signs = 1 - 2 * ((np.arange(2 ** len(terms))[:, None] >> np.arange(len(terms))) & 1)
    exact = np.mean(np.abs(signs @ terms) >= abs(terms.sum()) * (1 - 1e-6))
    assert checks.permutation(pairs, 1).p == pytest.approx(exact, abs=0.02)


def test_outliers_are_classified_and_never_dropped() -> None:
    rows, _ = frames(Truth(), design=Design(levels=tuple(range(10, 101, 5)), blocks=8))
    slow, fast = rows.index[rows["n"] == 60][[2, 9]]
    rows.loc[slow, "ms"] *= 2
    rows.loc[fast, "ms"] /= 2
    fit = fit_clustered(rows)
    found = checks.outliers(rows, fit.residuals)
    assert (found[slow], found[fast]) == ("slow", "fast")
    assert (found != "").sum() == 2
    assert len(fit.residuals) == len(rows)


def test_too_few_alike_and_nothing_is_unusual() -> None:
    rows, _ = frames(Truth(), design=Design(levels=(1, 10, 50), blocks=3))
    rows.loc[3, "ms"] *= 50
    assert (checks.outliers(rows, fit_clustered(rows).residuals) == "").all()


def test_noise_that_grows_with_n_is_not_taken_for_outliers() -> None:
    fanned = Truth(intercept_ms=0, noise_ms=0, noise_fraction=0.05, block_sd_ms=0)
    rows, _ = frames(fanned, design=Design(levels=tuple(range(2, 101, 2)), blocks=6))
    assert (checks.outliers(rows, fit_clustered(rows).residuals) != "").sum() <= 2


def test_the_sensitivity_fit_leaves_out_whole_pairs() -> None:
    rows, _ = WHOLE
    unusual = pd.Series("", index=rows.index)
    unusual[3] = "slow"
    found = checks.without_outliers(rows, unusual, ALPHA)
    bad = (rows["block_id"] == rows.loc[3, "block_id"]) & (rows["pair"] == rows.loc[3, "pair"])
    assert found.value == pytest.approx(primary(rows[~bad]).value)
    assert "without the 1 pairs" in found.method


def test_all_agree_on_honest_data() -> None:
    found = run(*HOLED)
    assert found.disagreements == ()
    assert [check.name for check in found.estimates] == [
        "pair differences", "slopes by block", "HC3", "weighted", "order in the pair", "without outliers",
    ]  # fmt: skip
    assert all(isinstance(check, Estimate) for check in found.estimates)


def test_a_disagreement_is_said() -> None:
    rows, pairs = WHOLE
    fit = fit_clustered(rows)
    crooked = pairs.assign(diff=pairs["diff"] + 5 * pairs["n"])
    found = checks.run(rows, crooked, fit, checks.outliers(rows, fit.residuals), alpha=ALPHA, seed=1)
    assert any(text.startswith("pair differences: 4.") for text in found.disagreements)


def test_what_cannot_be_asked_is_missing_with_its_reason() -> None:
    rows, pairs = frames(Truth(), design=Design(levels=(1, 50), blocks=2))
    by_name = {check.name: check for check in run(rows, pairs).estimates}
    assert isinstance(by_name["order in the pair"], Missing)
    assert by_name["order in the pair"].reason
    assert isinstance(by_name["pair differences"], Estimate)
