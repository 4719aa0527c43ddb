from __future__ import annotations

import pandas as pd
import pytest

from analysis import columns
from analysis.synthetic import Design, Truth, campaign
from harness.records import Cpu, Sample, Trial


def test_every_field_is_a_column_and_cpu_is_flattened() -> None:
    names = columns.dtypes(Trial)
    assert set(Trial.model_fields) - set(names) == {"cpu_clients", "cpu_daemon", "cpu_boundary", "cpu_server"}
    assert {f"cpu_daemon_{part}" for part in Cpu.model_fields} < set(names)
    assert names["n"] == names["cpu_clients_total_ns"] == "Int64"
    assert names["load_1min"] == "Float64"
    assert names["stack"] == names["outcome"] == "string"
    assert columns.dtypes(Sample)["tls_resumed"] == "boolean"


def test_rows_keep_every_value_and_missing_stays_missing() -> None:
    trials = campaign(Design(levels=(2,), blocks=1), Truth(), seed=1).trials
    table = columns.frame((columns.row(trial) for trial in trials), Trial)
    for (_, found), trial in zip(table.iterrows(), trials, strict=True):
        assert found["elapsed_ns"] == trial.elapsed_ns
        assert found["stack"] == trial.stack
        assert found["cpu_clients_total_ns"] == trial.cpu_clients.total_ns
        assert pd.isna(found["cpu_daemon_total_ns"]) == (trial.cpu_daemon is None)


def test_integers_keep_all_their_bits() -> None:
    trial = campaign(Design(levels=(2,), blocks=1), Truth(), seed=1).trials[0]
    exact = 2**53 + 1
    values = [trial.model_copy(update={"release_ns": value}) for value in (exact, None)]
    table = columns.frame(map(columns.row, values), Trial)
    assert int(table["release_ns"].iloc[0]) == exact
    assert pd.isna(table["release_ns"].iloc[1])


def test_no_rows_still_have_all_columns() -> None:
    assert list(columns.frame([], Sample).columns) == list(columns.dtypes(Sample))


@pytest.mark.parametrize("change", [lambda t: t.drop(columns="n"), lambda t: t.assign(extra=1)])
def test_typed_refuses_other_columns(change) -> None:
    table = columns.frame([], Trial)
    with pytest.raises(ValueError, match="columns missing"):
        columns.typed(change(table), Trial)
