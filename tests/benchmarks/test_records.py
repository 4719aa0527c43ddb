from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.records import BenchmarkError, Missing, Recording, Role, Row, Rows, Subject, read, write
from tests.benchmarks.made import recording


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = recording(
        "relay", [Row(subject=Subject.SECCOMP, role=Role.CLIENT, case="c", quantity="q", unit="s", rounds=(1, 2))]
    )
    path = write(made, tmp_path / "new")
    assert path.name == "relay.json"
    assert read(path) == made


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1, "rows": []}'])
def test_what_is_no_recording_is_said_in_a_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(BenchmarkError, match=r"x\.json is no recording of this version"):
        read(tmp_path / "x.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="cannot be read: No such file"):
        read(tmp_path / "x.json")


def test_rows_collect_a_number_a_round() -> None:
    rows = Rows()
    for value in (3.0, 1.0, 2.0):
        rows.add(Subject.STUNNEL, None, "case", {("time", "s"): value, ("rate", "1/s"): -value})
    first, second = rows.rows()
    assert (first.quantity, first.rounds, first.median) == ("time", (3, 1, 2), 2)
    assert (second.unit, second.median) == ("1/s", -2)


def test_a_recording_knows_its_fields_only() -> None:
    fields = recording("calls", []).model_dump()
    with pytest.raises(ValueError, match="surprise"):
        Recording.model_validate({**fields, "surprise": 1})
    assert Missing(subject=Subject.HAPROXY, reason="no").role is None
