from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from analysis import synthetic
from analysis.frames import Fate
from analysis.load import load
from analysis.pooling import scenario
from analysis.synthetic import Design, Truth, campaign, simulate
from harness.records import Outcome

DESIGN = Design(levels=(1, 2, 3, 4), blocks=4)


def test_the_same_seed_gives_the_same_campaign() -> None:
    assert campaign(DESIGN, Truth(), 1) == campaign(DESIGN, Truth(), 1)
    assert campaign(DESIGN, Truth(), 1).trials != campaign(DESIGN, Truth(), 2).trials


def test_blocks_are_complete_randomised_and_balanced() -> None:
    rows = simulate(DESIGN, Truth(), 1)
    orders = set()
    for _, block in rows.groupby("block"):
        assert Counter(zip(block["n"], block["arm"], strict=True)) == Counter(
            (n, a) for n in DESIGN.levels for a in (0, 1)
        )
        assert block.groupby("pair")["sequence"].agg(np.ptp).eq(1).all()
        assert block[block["arm"] == 0]["position"].sum() == 2
        orders.add(tuple(block["pair"]))
    assert len(orders) > 1


def test_the_published_order() -> None:
    rows = simulate(Design(levels=(1, 2, 3), blocks=2, order="published"), Truth(), 1)
    assert list(rows["n"]) == [1, 2, 3] * 4
    assert list(rows["arm"]) == [1, 1, 1, 0, 0, 0] * 2


def test_a_failed_trial_has_its_pair_run_again_at_the_end(tmp_path: Path) -> None:
    made = campaign(DESIGN, Truth(failure_rate=0.3), 3)
    failed = [trial for trial in made.trials if trial.outcome is not Outcome.OK]
    assert failed
    assert all(trial.elapsed_ns is None and trial.reason for trial in failed)
    synthetic.write(tmp_path / "c", made)
    found = scenario([load(tmp_path / "c", samples=True)])
    assert len(found.pairs) == 16
    assert found.trials["fate"].value_counts()[str(Fate.FAILED)] == len(failed)


def test_it_says_that_it_is_synthetic(small: Path) -> None:
    loaded = load(small)
    assert loaded.manifest.preset == loaded.manifest.server == "synthetic"
    assert "synthetic" in loaded.manifest.campaign
    assert [warning.code for warning in loaded.environment.warnings] == ["synthetic"]
    assert scenario([loaded]).is_synthetic


def test_the_slowest_sample_ends_the_trial() -> None:
    made = campaign(DESIGN, Truth(), 1)
    for trial in made.trials:
        ends = [
            s.last_byte_offset_ns for s in made.samples if (s.trial_id, s.attempt) == (trial.trial_id, trial.attempt)
        ]
        assert len(ends) == trial.n
        assert max(ends) == trial.elapsed_ns


@pytest.mark.parametrize("drift_ms", [0.0, 50.0])
def test_drift_is_slow_and_as_large_as_said(drift_ms: float) -> None:
    quiet = Truth(
        intercept_ms=1000, slope_ms=0, noise_ms=0, noise_fraction=0, block_sd_ms=0, block_slope_sd_ms=0,
        drift_ms=drift_ms, drift_trials=20,
    )  # fmt: skip
    ms = simulate(Design(levels=tuple(range(1, 101)), blocks=20), quiet, 1)["ms"].to_numpy()
    assert np.std(ms) == pytest.approx(drift_ms, rel=0.3)
    if drift_ms:
        assert np.corrcoef(ms[:-1], ms[1:])[0, 1] == pytest.approx(np.exp(-1 / 20), abs=0.03)
