from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis import cpu
from analysis.estimates import Estimate, Missing
from analysis.load import load
from analysis.pooling import scenario

ALPHA = 0.05


@pytest.fixture(scope="module")
def rows(full: Path) -> pd.DataFrame:
    return scenario([load(full)]).rows


def test_the_known_cost_is_found(rows: pd.DataFrame) -> None:
    found = cpu.compare(rows, ALPHA)
    assert isinstance(found.other.stack, Estimate)
    assert found.baseline.stack.value == pytest.approx(0.0060, rel=0.02)
    assert found.other.stack.value == pytest.approx(0.0022 + 0.0046 + 0.0006, rel=0.02)
    assert found.ratio.ci_low < 0.0074 / 0.0060 < found.ratio.ci_high
    assert found.baseline.daemon is None
    assert found.baseline.server == pytest.approx(0.004, rel=0.02)


def test_the_ratio_by_hand(rows: pd.DataFrame) -> None:
    seconds = cpu.stack_seconds(rows)
    sums = [
        [
            seconds[mine].sum() / rows["megabytes"][mine].sum()
            for arm in (0, 1)
            for mine in [(rows["block_id"] == b) & (rows["arm"] == arm)]
        ]
        for b in rows["block_id"].unique()
    ]
    logs = np.log([other / base for base, other in sums])
    interval = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    found = cpu.ratio(rows, ALPHA)
    assert (found.value, found.ci_low, found.ci_high) == pytest.approx((np.exp(logs.mean()), *np.exp(interval)))
    assert found.p == pytest.approx(stats.ttest_1samp(logs, 0).pvalue)


def test_a_party_that_was_not_measured_is_not_taken_for_zero(rows: pd.DataFrame) -> None:
    ssa = rows["stack"] == "ssa"
    blind = rows.assign(daemon_s=rows["daemon_s"].where(~ssa))
    found = cpu.compare(blind, ALPHA)
    assert isinstance(found.other.stack, Missing)
    assert "not measured in 100 of 100 used trials" in found.other.stack.reason
    assert isinstance(found.baseline.stack, Estimate)
    assert isinstance(found.ratio, Missing)
    assert found.other.daemon is None


def test_the_preload_boundary_has_no_supervisor(rows: pd.DataFrame) -> None:
    ssa = rows["stack"] == "ssa"
    preload = rows.assign(boundary=rows["boundary"].mask(ssa, "preload"), boundary_s=np.nan)
    assert cpu.compare(preload, ALPHA).other.stack.value == pytest.approx(0.0068, rel=0.02)
    without = rows.assign(boundary_s=np.nan)
    assert isinstance(cpu.compare(without, ALPHA).other.stack, Missing)


def test_one_block_has_costs_but_no_interval(rows: pd.DataFrame) -> None:
    found = cpu.compare(rows[rows["block"] == 0], ALPHA)
    assert found.other.clients == pytest.approx(0.0022, rel=0.05)
    assert isinstance(found.other.stack, Missing)
    assert "blocks here: 1" in found.ratio.reason


def test_a_block_that_only_one_arm_has_is_no_observation(rows: pd.DataFrame) -> None:
    """As with two boundaries: 'other' lacks a block, so the ratio has one degree of freedom less."""
    last = rows["block_id"].max()
    lacking = rows[(rows["arm"] == 0) | (rows["block_id"] != last)]
    without = rows[rows["block_id"] != last]
    assert cpu.ratio(lacking, ALPHA) == cpu.ratio(without, ALPHA)
