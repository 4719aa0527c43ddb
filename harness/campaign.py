"""A campaign's directory: made, locked, read, appended to.

``plan.json`` and ``environment.json`` are written once, ``trials.jsonl``, ``samples.jsonl`` and ``links.jsonl``
grow by one trial at a time, ``looks.jsonl`` (of a plan that may end early) by one look between two blocks.  The
trial's line is written last; **it is what makes a trial recorded**.  What has no trial, left by a stop in between,
is cut off when the directory is opened again.  One process writes: the directory itself is locked (flock(2)), so a
lock never outlives its owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import lzma
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.columns import write_parquet
from harness.errors import HarnessError, UsageError
from harness.files import try_place
from harness.jsonl import ARCHIVED_SUFFIX, AppendFile, complete_part, read_lines_file
from harness.plan import Plan
from harness.records import (
    CAMPAIGN_FILES,
    LOOKS,
    SCHEMA_VERSION,
    LinkSample,
    Look,
    Manifest,
    Record,
    Sample,
    Trial,
)

R = TypeVar("R", bound=Record)

LINKS = "links.jsonl"
"""What the link did in each trial; campaigns older than this file do not have it."""


@dataclass(frozen=True)
class Campaign:
    """What a directory says, without its trials."""

    path: Path
    plan: Plan
    manifest: Manifest
    environment: dict[str, Any]


def try_directory(parent: Path) -> None:
    """HarnessError when a campaign's directory cannot be made in there: known before anything else is done."""
    try:
        try_place(parent)
    except OSError as error:
        raise _cannot_make(parent, error) from error


def make_directory(parent: Path, name: str) -> Path:
    """A new directory, with a number behind its name where that is taken.

    HarnessError when it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
            path = parent / f"{name}{suffix}"
            with contextlib.suppress(FileExistsError):  # perhaps a campaign that begins in the same second
                path.mkdir()
                return path
    except OSError as error:
        raise _cannot_make(parent, error) from error
    raise HarnessError(f"There are already 1000 campaigns called {name} in {parent}.")


def _cannot_make(parent: Path, error: OSError) -> HarnessError:
    return HarnessError(
        f"Cannot make the campaign's directory in {parent}: {error.strerror}. Name another place: --out DIR."
    )


def write_header(path: Path, plan: Plan, manifest: Manifest, environment: Mapping[str, object]) -> None:
    """Write plan.json and environment.json, each at once or not at all."""
    whole = {"plan": plan.model_dump(mode="json"), "manifest": manifest.model_dump(mode="json")}
    _write_json(path / "plan.json", whole)
    _write_json(path / "environment.json", environment)


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise HarnessError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def read_campaign(path: Path) -> Campaign:
    """Read plan.json and environment.json.  UsageError says what is missing or from another version."""
    if not path.is_dir():
        raise UsageError(f"There is no campaign {path}: it is not a directory.")
    names = (*CAMPAIGN_FILES, LINKS, LOOKS, "trials.parquet", "samples.parquet")
    if odd := [name for name in names if (path / name).exists() and not (path / name).is_file()]:
        raise UsageError(f"{path} is not a campaign's directory: {', '.join(odd)}: no regular file.")
    missing = [
        name
        for name in CAMPAIGN_FILES
        if not (path / name).is_file() and not (path / f"{name}{ARCHIVED_SUFFIX}").is_file()
    ]
    if missing:
        raise UsageError(f"{path} is not a campaign's directory: {', '.join(missing)} missing.")
    whole, environment = _read_json(path / "plan.json"), _read_json(path / "environment.json")
    manifest_fields = whole.get("manifest")
    found = manifest_fields.get("schema_version") if isinstance(manifest_fields, dict) else None
    if found != SCHEMA_VERSION:
        raise UsageError(
            f"{path} was made by another version of the harness (schema {found}, this is {SCHEMA_VERSION});"
            " use the version that made it."
        )
    try:
        plan = Plan.model_validate(whole.get("plan"))
        return Campaign(path, plan, Manifest.model_validate(manifest_fields), environment)
    except ValidationError as error:
        raise UsageError(f"{path / 'plan.json'} does not hold a plan: {_first(error)}.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not JSON ({error})"
        raise UsageError(f"Cannot read {path}: {reason}.") from error
    if not isinstance(content, dict):
        raise UsageError(f"Cannot read {path}: it holds no JSON object.")
    return content


def read_records(path: Path, model: type[R]) -> Iterator[R]:
    """Every acknowledged line of a JSONL file.

    UsageError with the line's number when one is not a record.
    """
    try:
        lines = complete_part(read_lines_file(path)).splitlines()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    except lzma.LZMAError as error:
        raise UsageError(f"Cannot unpack {path}{ARCHIVED_SUFFIX}: {error}.") from error
    for number, line in enumerate(lines, start=1):
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            kind = model.__name__.lower()
            raise UsageError(f"{path}, line {number}, is not a {kind}: {_first(error)}.") from error


def read_looks(path: Path) -> list[Look]:
    """Every look of the campaign in a directory; none where there is no file of them.  UsageError as above."""
    return list(read_records(path / LOOKS, Look)) if (path / LOOKS).is_file() else []


def _first(error: ValidationError) -> str:
    finding = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in finding["loc"])
    return f"{place}: {finding['msg']}" if place else finding["msg"]


class Recorder:
    """The one writer of a campaign's directory.

    A context manager; HarnessError when another process writes there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / f"samples.jsonl{ARCHIVED_SUFFIX}").exists():
            raise UsageError(f"{path} is archived and takes no more trials; to go on, unpack samples.jsonl with xz -d.")
        self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise HarnessError(f"Another process is running the campaign {path}; wait for it, or stop it.") from None
        self._trials = AppendFile(path / "trials.jsonl")
        self._samples = AppendFile(path / "samples.jsonl")
        self._links = AppendFile(path / LINKS)
        os.fsync(self._lock)
        self.trials = list(read_records(path / "trials.jsonl", Trial))
        self.looks = read_looks(path)
        if (path / LOOKS).exists():
            AppendFile(path / LOOKS).close()  # cuts off a torn line, which the analysis would refuse
        self._cut_orphans()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, trial: Trial, samples: Sequence[Sample], link: LinkSample) -> None:
        """Record one trial.  HarnessError when the disk does not take it; then nothing of it stays."""
        before, links_before = self._samples.size_bytes, self._links.size_bytes
        try:
            self._samples.append([sample.model_dump_json() for sample in samples])
            self._links.append([link.model_dump_json()])
            self._trials.append([trial.model_dump_json()])
        except HarnessError:
            self._samples.cut(before)
            self._links.cut(links_before)
            raise
        self.trials.append(trial)

    def append_look(self, look: Look) -> None:
        """Record one look.  HarnessError when the disk does not take it; it is then taken again."""
        file = AppendFile(self.path / LOOKS)
        try:
            file.append([look.model_dump_json()])
            os.fsync(self._lock)
        finally:
            file.close()
        self.looks.append(look)

    def write_parquet(self) -> None:
        """Write both Parquet files from the JSONL files.  HarnessError when the disk does not take them."""
        samples = list(read_records(self.path / "samples.jsonl", Sample))
        try:
            for name, model, records in (("trials", Trial, self.trials), ("samples", Sample, samples)):
                digest = hashlib.sha256((self.path / f"{name}.jsonl").read_bytes()).hexdigest()
                write_parquet(self.path / f"{name}.parquet", model, records, digest)
        except OSError as error:
            raise HarnessError(f"Cannot write the Parquet files in {self.path}: {error.strerror}.") from error

    def close(self) -> None:
        """Everything is on the disk already; lets another process write."""
        self._trials.close()
        self._samples.close()
        self._links.close()
        os.close(self._lock)

    def _cut_orphans(self) -> None:
        recorded = {(trial.trial_id, trial.attempt) for trial in self.trials}
        samples, links = self.path / "samples.jsonl", self.path / LINKS
        self._cut(
            self._samples, samples, [(one.trial_id, one.attempt) in recorded for one in read_records(samples, Sample)]
        )
        self._cut(
            self._links, links, [(one.trial_id, one.attempt) in recorded for one in read_records(links, LinkSample)]
        )

    @staticmethod
    def _cut(file: AppendFile, path: Path, recorded: Sequence[bool]) -> None:
        """Everything from the first line on whose trial was not recorded."""
        size = 0
        for line, kept in zip(complete_part(path.read_bytes()).splitlines(keepends=True), recorded, strict=True):
            if not kept:
                file.cut(size)
                return
            size += len(line)
