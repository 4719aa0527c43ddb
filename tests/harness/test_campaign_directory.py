import contextlib
import json
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import archive
from harness.assemble import Setting, assemble, link_sample
from harness.campaign import Recorder, make_directory, read_campaign, read_records, write_header
from harness.check import check, not_covered
from harness.columns import column_types, flatten, to_table
from harness.errors import HarnessError, UsageError
from harness.jsonl import AppendFile, complete_part, is_torn
from harness.plan import Plan
from harness.records import Cpu, Link, LinkSample, Manifest, Sample, Stack, Trial

Make = Callable[..., Any]


@pytest.fixture
def recorded(setting: Setting, identify: Make, observe: Make) -> Make:
    def make(n: int, sequence: int) -> tuple[Trial, list[Sample], LinkSample]:
        identity, observed = identify(Stack.OPENSSL, n, sequence), observe(n)
        trial, samples = assemble(identity, setting, observed, None)
        return trial.model_copy(update={"reason": "long " * 100}), samples, link_sample(identity, observed, 30.5)

    return make


@pytest.fixture
def directory(tmp_path: Path, plan: Plan) -> Path:
    path = make_directory(tmp_path, "campaign")
    manifest = Manifest(
        campaign="a-campaign",
        link=Link.LOOPBACK,
        server="granian",
        plan_sha256=plan.sha256,
        **{
            name: getattr(plan, name)
            for name in ("preset", "profile", "size_bytes", "levels", "blocks", "stacks", "seed", "judgement")
        },
    )
    write_header(path, plan, manifest, {"schema_version": 1})
    with Recorder(path):
        pass
    return path


@contextlib.contextmanager
def small_files(size: int) -> Iterator[None]:
    """Nothing may be written beyond so many bytes of a file: what a full disk looks like.

    Only for a few lines: the test runner's own output may be a file too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_recorded_is_there(directory: Path, recorded: Make) -> None:
    first, second = recorded(1, 0), recorded(3, 1)
    with Recorder(directory) as recorder:
        recorder.append(*first)
        recorder.append(*second)
        recorder.write_parquet()
    assert list(read_records(directory / "trials.jsonl", Trial)) == [first[0], second[0]]
    assert list(read_records(directory / "samples.jsonl", Sample)) == [*first[1], *second[1]]
    assert (directory / "trials.parquet").is_file()
    with Recorder(directory) as recorder:
        assert recorder.trials == [first[0], second[0]]


@given(st.lists(st.text("abc", max_size=8), max_size=5), st.integers(0, 60))
def test_a_torn_line_was_never_acknowledged(lines: list[str], cut: int) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    part = complete_part(data[:cut])
    assert data.startswith(part)
    assert part == b"" or part.endswith(b"\n")
    assert is_torn(data[:cut]) == (part != data[:cut])
    assert len(data[:cut]) - len(part) <= 8


def test_a_torn_line_is_cut_off(directory: Path, recorded: Make) -> None:
    with Recorder(directory) as recorder:
        recorder.append(*recorded(3, 0))
    whole = (directory / "trials.jsonl").read_bytes()
    with (directory / "trials.jsonl").open("ab") as file:
        file.write(whole[: len(whole) // 2])
    with Recorder(directory) as recorder:
        assert len(recorder.trials) == 1
        recorder.append(*recorded(1, 1))
    assert len(list(read_records(directory / "trials.jsonl", Trial))) == 2


def test_samples_of_a_trial_that_was_not_recorded_are_cut_off(directory: Path, recorded: Make) -> None:
    with Recorder(directory) as recorder:
        recorder.append(*recorded(3, 0))
    _, orphans, link = recorded(1, 1)
    with (directory / "samples.jsonl").open("a") as file:
        file.writelines(f"{sample.model_dump_json()}\n" for sample in orphans)
    with (directory / "links.jsonl").open("a") as file:
        file.write(f"{link.model_dump_json()}\n")
    with Recorder(directory):
        pass
    assert len(list(read_records(directory / "samples.jsonl", Sample))) == 3
    assert len(list(read_records(directory / "links.jsonl", LinkSample))) == 1


@pytest.mark.parametrize("full", ["samples", "trials"])
def test_a_full_disk_takes_nothing_and_loses_nothing(full: str, directory: Path, recorded: Make) -> None:
    """With n = 1 a trial's line is longer than its samples', so a limit in between is hit by the trial only."""
    with Recorder(directory) as recorder:
        recorder.append(*recorded(1, 0))
    before = {name: (directory / f"{name}.jsonl").read_bytes() for name in ("samples", "links", "trials")}
    assert len(before["trials"]) > len(before["samples"]) + 100
    with Recorder(directory) as recorder:
        size = 2 * len(before["samples"]) + 100 if full == "trials" else len(before["samples"]) + 100
        more = recorded(1, 1)
        with (
            pytest.raises(HarnessError, match=rf"Cannot write .*{full}\.jsonl: File too large\."),
            small_files(size),
        ):
            recorder.append(*more)
        assert len(recorder.trials) == 1
    after = {name: (directory / f"{name}.jsonl").read_bytes() for name in ("samples", "links", "trials")}
    assert after == before


def test_a_directory_that_is_deleted_ends_the_campaign_and_one_that_is_moved_does_not(
    directory: Path, recorded: Make
) -> None:
    with Recorder(directory) as recorder:
        moved = directory.rename(directory.with_name("moved"))
        recorder.append(*recorded(1, 0))
        assert len(list(read_records(moved / "trials.jsonl", Trial))) == 1
        shutil.rmtree(moved)
        with pytest.raises(HarnessError, match="was deleted while it was written to"):
            recorder.append(*recorded(3, 1))


def test_only_one_process_writes(directory: Path) -> None:
    with Recorder(directory), pytest.raises(HarnessError, match="Another process is running the campaign"):
        Recorder(directory)
    with Recorder(directory):
        pass


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    assert [make_directory(tmp_path / "new", "x").name for _ in range(3)] == ["x", "x-2", "x-3"]


def test_two_that_begin_at_once_get_a_directory_each(tmp_path: Path) -> None:
    at_once = threading.Barrier(8)

    def make(_: int) -> list[Path]:
        at_once.wait()
        return [make_directory(tmp_path, "campaign") for _ in range(25)]

    with ThreadPoolExecutor(8) as threads:
        made = [path for some in threads.map(make, range(8)) for path in some]
    assert sorted(made) == sorted(tmp_path.iterdir())
    assert len(made) == 200


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="Cannot make the campaign's directory"):
        make_directory(tmp_path / "file", "x")


def test_reading_back(directory: Path, plan: Plan) -> None:
    campaign = read_campaign(directory)
    assert campaign.plan == plan
    assert campaign.manifest.plan_sha256 == plan.sha256
    assert campaign.environment == {"schema_version": 1}


def test_a_check_says_what_it_does_not_cover(directory: Path) -> None:
    assert not_covered(directory) == ""
    (directory / "verdict.json").write_text("{}")
    assert f"python -m analysis verify {directory} computes verdict.json again" in not_covered(directory)


def test_what_is_not_a_campaign(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        read_campaign(tmp_path / "none")
    (directory / "trials.jsonl").unlink()
    with pytest.raises(UsageError, match=r"trials\.jsonl missing"):
        read_campaign(directory)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "holds no JSON object"),
        ('{"manifest": {"schema_version": 99}}', r"made by another version .*\(schema 99, this is 1\)"),
        ('{"manifest": {"schema_version": 1}}', "does not hold a plan"),
    ],
)
def test_a_broken_plan_file(content: str, complaint: str, directory: Path) -> None:
    (directory / "plan.json").write_text(content)
    with pytest.raises(UsageError, match=complaint):
        read_campaign(directory)


def test_an_environment_of_another_format_is_a_finding(directory: Path) -> None:
    said = "environment.json: has schema version None, and this harness writes 1."
    assert said not in check(directory)
    (directory / "environment.json").write_text("{}")
    assert said in check(directory)


def test_a_broken_line_is_named(directory: Path, recorded: Make) -> None:
    with Recorder(directory) as recorder:
        recorder.append(*recorded(1, 0))
    with (directory / "trials.jsonl").open("a") as file:
        file.write('{"schema_version": 1}\n')
    with pytest.raises(UsageError, match=r"trials\.jsonl, line 2, is not a trial: campaign: Field required"):
        Recorder(directory)


def test_cut_reaches_the_disk(tmp_path: Path) -> None:
    file = AppendFile(tmp_path / "x.jsonl")
    file.append(["one", "two"])
    file.cut(4)
    file.append(["three"])
    file.close()
    assert (tmp_path / "x.jsonl").read_text() == "one\nthree\n"


def test_columns_are_the_records_fields() -> None:
    columns = column_types(Trial)
    assert columns["cpu_clients_total_ns"] is int
    assert columns["outcome"] is str
    assert columns["load_1min"] is float
    assert "cpu_clients" not in columns
    assert len(columns) == len(Trial.model_fields) + 4 * (len(Cpu.model_fields) - 1)


def test_a_table_has_every_column_typed_also_without_rows(recorded: Make) -> None:
    trial, samples, _ = recorded(3, 0)
    row = flatten(trial)
    assert (row["cpu_clients_total_ns"], row["cpu_daemon_total_ns"], row["stack"]) == (36, None, "openssl")
    for model, records in ((Trial, [trial]), (Sample, samples)):
        table = to_table(model, records)
        assert table.schema == to_table(model, []).schema
        assert table.to_pylist() == [flatten(record) for record in records]
        assert json.loads(json.dumps(table.to_pylist())) == table.to_pylist()


def test_an_incomplete_campaign_is_not_archived(directory: Path) -> None:
    with pytest.raises(UsageError, match="is not complete"):
        archive.archive(directory)
    assert (directory / "samples.jsonl").exists()


def test_an_archived_campaign_reads_the_same_and_takes_no_more(
    directory: Path, recorded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, samples, link = recorded(3, 0)
    with Recorder(directory) as recorder:
        recorder.append(trial, samples, link)
        recorder.write_parquet()
    monkeypatch.setattr(archive, "check", lambda _path: [])  # complete campaigns are made by the system tests
    archive.archive(directory)
    assert not (directory / "samples.jsonl").exists()
    assert list(read_records(directory / "samples.jsonl", Sample)) == samples
    assert archive.check_sums(directory) == []
    with pytest.raises(UsageError, match="takes no more trials"):
        Recorder(directory)


def test_a_sealed_file_that_changes_is_noticed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "check", lambda _path: [])
    archive.archive(directory)
    (directory / "plan.json").write_text("{}")
    (directory / "environment.json").unlink()
    assert archive.check_sums(directory) == [
        "environment.json: is missing, but SHA256SUMS lists it.",
        "plan.json: is not the file that SHA256SUMS lists.",
    ]


def test_an_archive_does_not_say_whose_machine_it_was(directory: Path) -> None:
    (directory / "environment.json").write_text('["/home/eve/ssa/x", "/home/eve", "/home/eve2", "/home/eve.d", "/usr"]')
    archive.forget_places(directory, {"/home/eve": "$HOME", "/home/eve/ssa": "$CHECKOUT", "/": "$NOBODY"})
    assert json.loads((directory / "environment.json").read_text()) == [
        "$CHECKOUT/x",
        "$HOME",
        "/home/eve2",
        "/home/eve.d",
        "/usr",
    ]


def test_a_damaged_archive_is_one_sentence(directory: Path) -> None:
    (directory / "samples.jsonl").rename(directory / "samples.jsonl.xz")
    (directory / "samples.jsonl.xz").write_bytes(b"not compressed")
    with pytest.raises(UsageError, match="Cannot unpack"):
        list(read_records(directory / "samples.jsonl", Sample))


@pytest.mark.parametrize("name", ["plan.json", "samples.jsonl", "links.jsonl", "looks.jsonl", "trials.parquet"])
def test_a_file_that_never_begins_or_never_ends_is_not_waited_for(directory: Path, name: str) -> None:
    path = directory / name
    for make in (os.mkfifo, lambda there: there.symlink_to("/dev/zero")):
        path.unlink(missing_ok=True)
        make(path)
        with pytest.raises(UsageError, match=f"is not a campaign's directory: {name}: no regular file"):
            read_campaign(directory)
