from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis import power
from analysis.estimates import Missing
from analysis.frames import paired
from analysis.models import fit_clustered
from analysis.synthetic import Design, Truth, simulate
from harness.records import Judgement

JUDGEMENT = Judgement.model_validate({})
PAPER_NOISE = Truth(intercept_ms=400, noise_ms=41, noise_fraction=0, block_sd_ms=0, block_slope_sd_ms=0)
PAPER = Design(levels=tuple(range(1, 101)))
GRID = Design(levels=(1, *range(10, 101, 10)))


def assessed(design: Design, truth: Truth, seed: int = 1) -> power.Design:
    rows = simulate(design, truth, seed).assign(campaign_index=0)
    return power.assess(paired(rows), fit_clustered(rows), design.blocks, JUDGEMENT)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("df", [2, 9, 30])
def test_power_is_that_of_the_non_central_t(shift: float, df: int) -> None:
    critical = stats.t.ppf(0.975, df)
    expected = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift) if shift else 0.05
    assert power.power_of(shift, 1.0, df, 0.05) == pytest.approx(expected, abs=1e-4)


def test_the_numbers_of_the_experiments_document() -> None:
    """EXPERIMENT.md section 6: 100 levels x 10 blocks see 0.25 ms with 0.93; an 11-level grid with 0.24."""
    spread = {design: 10 * np.sum((np.array(design.levels) - np.mean(design.levels)) ** 2) for design in (PAPER, GRID)}
    errors = {design: 41 * np.sqrt(2 / total) for design, total in spread.items()}
    assert power.power_of(0.25, errors[PAPER], 9, 0.05) == pytest.approx(0.93, abs=0.02)
    assert power.power_of(0.25, errors[GRID], 9, 0.05) == pytest.approx(0.24, abs=0.02)


def test_the_papers_design_is_good_enough_and_the_grid_is_not() -> None:
    good, poor = assessed(PAPER, PAPER_NOISE), assessed(GRID, PAPER_NOISE)
    assert not good.underpowered
    assert good.power.power == pytest.approx(0.93, abs=0.03)
    assert poor.underpowered
    assert poor.power.power == pytest.approx(0.24, abs=0.06)
    assert "power 0.2" in poor.reasons[0]


def test_what_is_detectable_has_the_demanded_power() -> None:
    effect = power.detectable(0.8, 0.1, 9, 0.05)
    assert power.power_of(effect, 0.1, 9, 0.05) == pytest.approx(0.8, abs=1e-6)


def test_extremes_need_no_special_functions() -> None:
    assert power.power_of(1e6, 1.0, 9, 0.05) == pytest.approx(1)
    assert power.power_of(0.25, 0.0, 9, 0.05) == 1
    assert power.power_of(0.0, 0.0, 9, 0.05) == 0.05
    assert power.detectable(0.8, 0.0, 9, 0.05) == 0


def test_few_blocks_are_underpowered_whatever_the_residuals() -> None:
    silent = Truth(noise_ms=0.01, noise_fraction=0, block_sd_ms=0, block_slope_sd_ms=0)
    found = assessed(Design(levels=PAPER.levels, blocks=4), silent)
    assert found.power.power == pytest.approx(1)
    assert found.reasons == ("complete blocks: 4, and the plan demands 5",)


def test_blocks_whose_slopes_vary_count_by_their_variation() -> None:
    restless = Truth(noise_ms=1, noise_fraction=0, block_slope_sd_ms=0.5)
    found = assessed(Design(), restless).power
    assert found.basis.startswith("clustered by block")
    assert found.standard_error == pytest.approx(0.5 / np.sqrt(10), rel=0.6)
    calm = assessed(Design(), Truth(noise_ms=1, noise_fraction=0, block_slope_sd_ms=0)).power
    assert calm.basis.startswith("residuals")


def test_without_a_fit_power_is_unknown_and_the_design_underpowered() -> None:
    found = power.assess(
        paired(simulate(Design(), Truth(), 1).assign(campaign_index=0)),
        Missing(name="fit", reason="why"),
        10,
        JUDGEMENT,
    )
    assert found.underpowered
    assert found.reasons == ("power is unknown: why",)
