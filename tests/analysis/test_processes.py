"""Single processes, stragglers and CPU trends, held against a known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import processes, trends
from analysis.estimates import Estimate, Missing
from analysis.figures import growth
from analysis.figures.style import render
from analysis.frames import Scenario
from analysis.load import load
from analysis.pooling import scenario
from analysis.study import study
from analysis.synthetic import Design, Synthetic, campaign
from harness.records import Trial
from tests.analysis.conftest import LEVELS, QUIET

STRAGGLING_MS = 0.8
MS = 1_000_000


def with_stragglers(made: Synthetic) -> Synthetic:
    """In the other arm the last process comes 0.8 ms per process later than all the rest of its trial."""

    def later(trial: Trial) -> Trial:
        added = round(STRAGGLING_MS * MS * trial.n) if trial.arm == 1 else 0
        return trial.model_copy(update={"elapsed_ns": (trial.elapsed_ns or 0) + added})

    trials = {trial.trial_id: later(trial) for trial in made.trials}
    samples = []
    for sample in made.samples:
        trial = trials[sample.trial_id]
        end = trial.elapsed_ns if sample.process == trial.n - 1 else sample.last_byte_offset_ns
        samples.append(sample.model_copy(update={"last_byte_offset_ns": end}))
    return replace(made, trials=tuple(trials.values()), samples=tuple(samples))


@pytest.fixture(scope="module")
def straggling(made: Callable[[str, Synthetic], Path]) -> Scenario:
    path = made("straggling", with_stragglers(campaign(Design(levels=LEVELS, blocks=6), QUIET, seed=31)))
    return scenario([load(path, samples=True)])


def test_what_only_the_slowest_pays_is_straggling(straggling: Scenario) -> None:
    found = processes.straggling(straggling, 0.05)
    assert not isinstance(found, Missing)
    assert found.straggling.ci_low <= STRAGGLING_MS <= found.straggling.ci_high
    assert found.straggling.ci_low > 0.4
    assert found.median.ci_low <= 0 <= found.median.ci_high


def test_both_parts_add_up_to_the_headline(straggling: Scenario) -> None:
    found = processes.straggling(straggling, 0.05)
    slopes = study(straggling).verdict.slopes
    assert not isinstance(found, Missing)
    assert not isinstance(slopes, Missing)
    assert found.median.value + found.straggling.value == pytest.approx(slopes.difference.value, rel=1e-9)


def test_percentiles_are_of_all_processes_of_an_arm_and_n(straggling: Scenario) -> None:
    table = processes.percentiles(straggling)
    (loaded,) = straggling.campaigns
    assert loaded.samples is not None
    trials = loaded.trials.set_index("trial_id")
    mine = loaded.samples[
        loaded.samples["trial_id"].map(trials["n"]).eq(20) & loaded.samples["trial_id"].map(trials["arm"]).eq(1)
    ]
    assert len(mine) == 6 * 20
    ends = mine["last_byte_offset_ns"].to_numpy(dtype=float) / MS
    expected = [*np.percentile(ends, processes.PERCENTILES), ends.max()]
    assert table.loc[(1, 20)].to_list() == pytest.approx(expected)


def test_pooled_campaigns_with_the_same_trial_ids_are_kept_apart(straggling: Scenario) -> None:
    (one,) = straggling.campaigns
    twin = replace(one, manifest=one.manifest.model_copy(update={"campaign": "twin"}))
    pooled = scenario([one, twin])
    assert len(processes.parts(pooled)) == 2 * len(straggling.rows)


def test_without_samples_there_is_a_reason(full: Path) -> None:
    found = processes.straggling(scenario([load(full)]), 0.05)
    assert isinstance(found, Missing)
    assert found.reason == "no used trial has samples"
    assert processes.percentiles(scenario([load(full)])).empty


def test_a_cost_that_grows_with_n_is_a_trend(full: Path) -> None:
    place = scenario([load(full)])
    flat = trends.cpu_trend(place, 0.05)
    assert (flat["ci_low"] <= 0).all()
    assert (flat["ci_high"] >= 0).all()
    rows = place.rows.assign(clients_s=place.rows["clients_s"] + 1e-5 * place.rows["n"] * place.rows["megabytes"])
    grown = trends.cpu_trend(replace(place, rows=rows), 0.05)
    for arm in place.arms:
        assert grown.loc[arm, "value"] - flat.loc[arm, "value"] == pytest.approx(0.01)


def test_costs_by_block_and_level_are_seconds_over_megabytes(full: Path) -> None:
    place = scenario([load(full)])
    verdict = study(place).verdict
    table = trends.by_block(place)
    assert isinstance(verdict.cpu.ratio, Estimate)
    assert np.exp(np.log(table["ratio"]).mean()) == pytest.approx(verdict.cpu.ratio.value)
    assert trends.by_level(place).index.tolist() == list(LEVELS)


def test_cost_that_was_not_measured_is_missing_with_the_reason(full: Path) -> None:
    place = scenario([load(full)])
    rows = place.rows.assign(daemon_s=float("nan"))
    unmeasured = replace(place, rows=rows)
    assert "was not measured" in trends.cpu_trend(unmeasured, 0.05).loc["SSA", "how"]
    assert trends.by_level(unmeasured)["ratio"].isna().all()


def test_the_figures_are_pictures(straggling: Scenario) -> None:
    found = study(straggling)
    for draw in (growth.cpu_by_level, growth.percentiles_by_level, growth.goodput_by_level):
        assert render(draw(found), "png").startswith(b"\x89PNG")
