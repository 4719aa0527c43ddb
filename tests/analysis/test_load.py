from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.errors import DataError
from analysis.load import load, parse_jsonl
from analysis.study import data_sha256
from analysis.synthetic import Design, Truth, campaign
from harness.records import Sample, Trial

LINE = campaign(Design(levels=(2,), blocks=1), Truth(), seed=1).trials[0].model_dump_json().encode()
HERE = Path("trials.jsonl")


def complaint(directory: Path, *, samples: bool = True) -> str:
    with pytest.raises(DataError) as caught:
        load(directory, samples=samples)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.exit_code == 2
    return text


def edit(path: Path, line: int, **changes: object) -> None:
    lines = path.read_text().splitlines()
    lines[line - 1] = json.dumps(json.loads(lines[line - 1]) | changes)
    path.write_text("\n".join(lines) + "\n")


def test_reads_what_was_written(small: Path) -> None:
    found = load(small, samples=True)
    assert found.manifest.preset == "synthetic"
    assert len(found.trials) == (small / "trials.jsonl").read_bytes().count(b"\n")
    assert len(found.samples) == int(found.trials["n"].sum())
    assert found.notes == ()
    assert load(small).samples is None


@pytest.mark.parametrize("name", ["plan.json", "environment.json", "trials.jsonl", "samples.jsonl", "looks.jsonl"])
def test_a_file_that_never_begins_or_never_ends_is_not_waited_for(copied: Path, name: str) -> None:
    path = copied / name
    for make in (os.mkfifo, lambda there: there.symlink_to("/dev/zero")):
        path.unlink(missing_ok=True)
        make(path)
        assert complaint(copied) == f"{path}: cannot be read: it is no regular file"


def test_a_parquet_file_that_never_begins_is_made_anew(copied: Path) -> None:
    os.mkfifo(copied / "trials.parquet")
    load(copied)
    assert (copied / "trials.parquet").is_file()


def test_parquet_is_made_and_used_and_says_the_same(copied: Path) -> None:
    first = load(copied, samples=True)
    assert (copied / "trials.parquet").exists()
    (copied / "trials.jsonl").chmod(0o644)
    again = load(copied, samples=True)
    assert again.trials.equals(first.trials)
    assert again.samples.equals(first.samples)
    assert data_sha256([again.trials]) == data_sha256([first.trials])


def test_a_change_of_the_lines_is_seen_in_spite_of_the_parquet(copied: Path) -> None:
    before = load(copied)
    ok = int((before.trials["outcome"] == "ok").to_numpy().argmax()) + 1
    times = (copied / "trials.parquet").stat()
    edit(copied / "trials.jsonl", ok, elapsed_ns=123456789)
    os.utime(copied / "trials.jsonl", ns=(times.st_atime_ns, times.st_mtime_ns - 10**9))
    assert load(copied).trials["elapsed_ns"].iloc[ok - 1] == 123456789


def strip_digest(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({}), path)


def test_a_parquet_without_digest_that_is_older_is_left_alone_when_it_says_the_same(copied: Path) -> None:
    load(copied)
    parquet, jsonl = copied / "trials.parquet", copied / "trials.jsonl"
    strip_digest(parquet)
    before, later = parquet.read_bytes(), parquet.stat().st_mtime_ns + 10**9
    load(copied)
    os.utime(jsonl, ns=(later, later))
    load(copied)
    assert parquet.read_bytes() == before


def test_a_parquet_without_digest_that_says_something_else_is_made_anew(copied: Path) -> None:
    before = load(copied)
    parquet = copied / "trials.parquet"
    strip_digest(parquet)
    ok = int((before.trials["outcome"] == "ok").to_numpy().argmax()) + 1
    edit(copied / "trials.jsonl", ok, elapsed_ns=987654321)
    later = parquet.stat().st_mtime_ns + 10**9
    os.utime(copied / "trials.jsonl", ns=(later, later))
    assert load(copied).trials["elapsed_ns"].iloc[ok - 1] == 987654321
    assert b"jsonl_sha256" in pq.read_metadata(parquet).metadata


def test_parquet_alone_is_enough(copied: Path) -> None:
    first = load(copied, samples=True)
    (copied / "trials.jsonl").unlink()
    (copied / "samples.jsonl").unlink()
    assert load(copied, samples=True).trials.equals(first.trials)


def test_a_directory_that_cannot_be_written_is_read_with_a_note(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwds: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("analysis.files.tempfile.mkstemp", refuse)
    found = load(copied)
    assert len(found.trials) > 0
    assert "cannot be written: Permission denied" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("plan.json", "plan.json: the file is missing"),
        ("environment.json", "environment.json: the file is missing"),
        ("trials.jsonl", "trials.jsonl: the file is missing and trials.parquet too"),
        ("samples.jsonl", "samples.jsonl: the file is missing and samples.parquet too"),
    ],
)
def test_a_missing_file_is_named(copied: Path, name: str, says: str) -> None:
    (copied / name).unlink()
    assert says in complaint(copied)


def test_no_directory(tmp_path: Path) -> None:
    assert "no such directory" in complaint(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "a JSON object is expected here, not list"),
        ("{}", "has no 'manifest'"),
        ('{"manifest": {"schema_version": 99}}', "schema version 99, but this program reads version 1"),
        ('{"manifest": {"schema_version": 1}}', "manifest: campaign: Field required"),
    ],
)
def test_a_broken_plan(copied: Path, content: str, says: str) -> None:
    (copied / "plan.json").write_text(content)
    assert says in complaint(copied)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"schema_version": 2}', "schema version 2"),
        ('{"schema_version": 1}', "fingerprint: Field required"),
        ('{"schema_version": 1, "fingerprint": {}, "warnings": [{}]}', "warnings.0.text: Field required"),
    ],
)
def test_a_broken_environment(copied: Path, content: str, says: str) -> None:
    (copied / "environment.json").write_text(content)
    assert says in complaint(copied)


def test_a_line_that_is_nested_too_deep(copied: Path) -> None:
    path = copied / "trials.jsonl"
    path.write_bytes(path.read_bytes() + b"[" * 100_000 + b"\n")
    assert "recursion limit exceeded" in complaint(copied)


def test_a_torn_last_line(copied: Path) -> None:
    path = copied / "trials.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    count = path.read_bytes().count(b"\n") + 1
    assert f"trials.jsonl, line {count}: the line ends in the middle" in complaint(copied)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"campaign": "another"}, "line 2: campaign is not synthetic-loopback-7"),
        ({"link": "remote"}, "line 2: link is not loopback"),
        ({"server": "nginx"}, "line 2: server is not synthetic"),
        ({"size_bytes": 5}, "line 2: size_bytes is not 1000000"),
        ({"n": 3}, "line 2: n is none of the plan's levels"),
        ({"block": 77}, "line 2: the plan's blocks are 0 to 2"),
        ({"arm": 0, "stack": "ssa"}, "line 2: arm and stack contradict each other"),
        ({"outcome": "ok", "elapsed_ns": None}, "line 2: the outcome is ok, but there is no elapsed time"),
        ({"sequence": 0}, "line 2: the same sequence stands in an earlier line"),
        ({"outcome": "splendid"}, "line 2: outcome: Input should be"),
        ({"n": "many"}, "line 2: n: Input should be a valid integer"),
        ({"setup_ns": 2**63}, "line 2: a number is too large for 64 bits"),
        ({"unheard_of": 1}, "line 2: unheard_of: Extra inputs are not permitted"),
        ({"schema_version": 7}, "line 2: schema version 7"),
        ({"schema_version": 7, "unheard_of": 1}, "line 2: schema version 7"),
    ],
)
def test_a_foreign_or_edited_trial_is_named_by_its_line(copied: Path, changes: dict[str, object], says: str) -> None:
    edit(copied / "trials.jsonl", 2, **changes)
    assert says in complaint(copied)


def test_a_pair_with_two_levels(copied: Path) -> None:
    lines = [json.loads(line) for line in (copied / "trials.jsonl").read_text().splitlines()]
    other = next(n for n in (1, 10, 20) if n != lines[0]["n"])
    edit(copied / "trials.jsonl", 1, n=other)
    assert "the trials of one pair have different n" in complaint(copied)


def test_a_trial_that_stands_twice(copied: Path) -> None:
    path = copied / "trials.jsonl"
    first = json.loads(path.read_text().splitlines()[0])
    edit(path, 2, trial_id=first["trial_id"], attempt=first["attempt"])
    assert "line 2: the same trial_id and attempt stands in an earlier line" in complaint(copied)


def test_a_sample_without_trial(copied: Path) -> None:
    edit(copied / "samples.jsonl", 3, trial_id="b99")
    assert "samples.jsonl, line 3: its trial was never recorded" in complaint(copied)


def test_a_sample_that_stands_twice(copied: Path) -> None:
    path = copied / "samples.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))
    assert f"line {len(lines) + 1}: the same process of this trial stands in an earlier line" in complaint(copied)


def test_an_ok_trial_without_all_its_samples(copied: Path) -> None:
    path = copied / "samples.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert "but has" in complaint(copied)


@pytest.mark.parametrize("content", [b"", b"PAR1 is how it begins", b"\x00" * 64])
def test_a_broken_parquet_is_made_anew_or_named(copied: Path, content: bytes) -> None:
    (copied / "trials.parquet").write_bytes(content)
    assert len(load(copied).trials) > 0
    (copied / "trials.parquet").write_bytes(content)
    (copied / "trials.jsonl").unlink()
    assert "trials.parquet: not a table of trials of this version" in complaint(copied)


def test_the_parquet_of_something_else(copied: Path) -> None:
    load(copied, samples=True)
    shutil.copy(copied / "samples.parquet", copied / "trials.parquet")
    (copied / "trials.jsonl").unlink()
    assert "columns missing" in complaint(copied)


def parsed(content: bytes) -> str:
    """What is said about the content; '' when it is taken."""
    try:
        parse_jsonl(content, Trial, HERE)
    except DataError as error:
        return str(error)
    return ""


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_one_sentence(content: bytes) -> None:
    says = parsed(content)
    assert says == "" or (says.startswith("trials.jsonl, line ") and "\n" not in says)
    assert (says == "") == (content == b"")


@settings(deadline=None)
@given(st.integers(0, len(LINE)), st.integers(0, 3))
def test_a_line_cut_anywhere_is_named(cut: int, before: int) -> None:
    content = (LINE + b"\n") * before + LINE[:cut]
    says = parsed(content)
    assert (says == "") == (cut == 0)
    assert cut == 0 or says.startswith(f"trials.jsonl, line {before + 1}: the line ends in the middle")


@settings(deadline=None)
@given(st.integers(0, len(LINE) - 1), st.binary(min_size=1, max_size=1))
def test_a_flipped_byte_never_escapes_as_anything_but_one_sentence(place: int, byte: bytes) -> None:
    content = LINE[:place] + byte + LINE[place + 1 :] + b"\n"
    assert "\n" not in parsed(content)


def test_a_sample_is_not_a_trial() -> None:
    sample = campaign(Design(levels=(2,), blocks=1), Truth(), seed=1).samples[0]
    assert "line 1: campaign: Field required" in parsed(sample.model_dump_json().encode() + b"\n")
    assert len(parse_jsonl(sample.model_dump_json().encode() + b"\n", Sample, HERE)) == 1
