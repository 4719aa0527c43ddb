"""What grows with n, held against rows that were made to grow by known amounts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.estimates import Estimate, Missing
from analysis.load import load
from analysis.pooling import scenario
from analysis.trends import MEMORY_UNIT, memory, trends


def test_memory_grows_by_what_a_process_needs(full: Path) -> None:
    place = scenario([load(full, samples=True)])
    clients = (place.rows["n"] * (20_000_000 + 5_000_000 * place.rows["arm"])).astype("Int64")
    daemon = (place.rows["arm"] * 30_000_000).astype("Int64").mask(place.rows["arm"] == 0)
    rows = place.rows.assign(cpu_clients_peak_rss_bytes=clients, cpu_daemon_peak_rss_bytes=daemon)
    rows = rows.assign(cpu_boundary_peak_rss_bytes=daemon.mask(daemon.notna()))
    grown = replace(place, rows=rows)
    assert memory(grown)[rows["arm"] == 1].min() == pytest.approx(10 * 25 + 30)
    found = {arm: result for quantity, arm, result in trends(grown, 0.05) if quantity == "memory"}
    for arm, truth in zip(place.arms, (20.0, 25.0), strict=True):
        result = found[arm]
        assert isinstance(result, Estimate)
        assert result.value == pytest.approx(truth)
        assert result.unit == MEMORY_UNIT


def test_phases_grow_as_the_samples_do_and_what_is_unmeasured_is_said(full: Path) -> None:
    place = scenario([load(full, samples=True)])
    found = {(quantity, arm): result for quantity, arm, result in trends(place, 0.05)}
    last = [found["last byte, median", arm] for arm in place.arms]
    first = [found["first byte, median", arm] for arm in place.arms]
    for early, late in zip(first, last, strict=True):
        assert isinstance(early, Estimate)
        assert isinstance(late, Estimate)
        assert 0 < early.value < late.value
    assert isinstance(found["tcp, median", "SSA"], Missing)  # its connect is one call
