"""Reading a campaign's directory; the only module that does.

The JSON lines are the truth; the Parquet file beside them is the same rows as columns and spares the parsing.
It is used when it is current: it names the digest of the very JSONL file beside it; or (written by somebody
who names none) it is not older and has as many rows as the JSONL has lines; or there is no JSONL, as in a
trimmed reference.  Otherwise it is made anew.  Every complaint is one sentence: file, line, what.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, ValidationError

from analysis import columns
from analysis.errors import AnalysisError, DataError
from analysis.files import get, put
from analysis.validate import check_looks, check_samples, check_trials
from harness.records import LOOKS, SCHEMA_VERSION, Link, Look, Manifest, Record, Sample, Trial

DIGEST_KEY = b"jsonl_sha256"
ARCHIVED_SUFFIX = ".xz"
INT64_LIMIT = 2**63
pa: Any = pyarrow  # it has no types
pq: Any = pyarrow.parquet


class Warned(BaseModel):
    """A warning about the machine or the link, with advice."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    code: str = ""
    text: str
    advice: str = ""


class Environment(BaseModel):
    """``environment.json``; what stands inside the dictionaries is shown, not interpreted."""

    model_config = ConfigDict(frozen=True, extra="allow")
    schema_version: int
    fingerprint: dict[str, Any]
    link: dict[str, Any] = {}
    links: dict[str, dict[str, Any]] = {}
    server: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    machine: dict[str, Any] = {}
    warnings: tuple[Warned, ...] = ()

    def of_link(self, link: Link) -> dict[str, Any]:
        """What was set and measured of one link; a campaign with one link has no ``links``."""
        return self.links.get(str(link), self.link)


@dataclass(frozen=True)
class Campaign:
    """One directory, read and validated.

    ``samples`` is None when it was not asked for; ``notes`` says what went otherwise than usual while
    reading; ``looks`` are those of a campaign that may end before its last block.
    """

    directory: Path
    manifest: Manifest
    plan: dict[str, Any]
    environment: Environment
    trials: pd.DataFrame
    samples: pd.DataFrame | None
    notes: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()


def load(directory: Path, *, samples: bool = False, raw: bool = False) -> Campaign:
    """Read the campaign in ``directory``.

    Args:
        directory: the campaign's.
        samples: read the samples too.
        raw: read the JSON lines even where a Parquet file is current, hold it against them, and write nothing.

    Raises:
        DataError: a file is missing, torn, foreign, from another version, or contradicts another.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: there is no such directory; give the path of a campaign (results/NAME)")
    plan, manifest = _read_plan(directory / "plan.json")
    environment = _read_environment(directory / "environment.json")
    notes: list[str] = []
    read = _read_raw if raw else _read_table
    trials = read(directory, "trials", Trial, notes)
    check_trials(trials, manifest, directory / "trials.jsonl")
    processes = read(directory, "samples", Sample, notes) if samples else None
    if processes is not None:
        check_samples(processes, trials, directory / "samples.jsonl")
    looks = _read_looks(directory / LOOKS, trials, manifest)
    return Campaign(directory, manifest, plan, environment, trials, processes, tuple(filter(None, notes)), looks)


def load_so_far(directory: Path) -> Campaign:
    """Read what a campaign that still runs has recorded: its JSON lines, whatever Parquet file stands beside them.

    Raises:
        DataError: as in :func:`load`.
    """
    plan, manifest = _read_plan(directory / "plan.json")
    environment = _read_environment(directory / "environment.json")
    found = raw_lines(directory, "trials")
    if found is None:
        raise DataError(f"{directory / 'trials.jsonl'}: the file is missing; nothing was recorded here")
    trials = parse_jsonl(found[1], Trial, found[0])
    check_trials(trials, manifest, found[0])
    looks = _read_looks(directory / LOOKS, trials, manifest)
    return Campaign(directory, manifest, plan, environment, trials, None, looks=looks)


def _read_looks(path: Path, trials: pd.DataFrame, manifest: Manifest) -> tuple[Look, ...]:
    """None where there is no such file, as in every campaign whose plan has no rule."""
    looks = []
    if path.exists():
        for number, line in enumerate(_whole_lines(_read_bytes(path), path), 1):
            look = parse_line(line, number, Look, path)
            assert isinstance(look, Look)
            looks.append(look)
    check_looks(looks, trials, manifest, path)
    return tuple(looks)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(get(path))
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing, so {path.parent} is not a campaign") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: a JSON object is expected here, not {type(value).__name__}")
    return value


def _check_version(value: Any, where: str) -> None:
    if value != SCHEMA_VERSION:
        raise DataError(
            f"{where}: schema version {value!r}, but this program reads version {SCHEMA_VERSION}; "
            "use the revision that wrote the campaign"
        )


def _read_plan(path: Path) -> tuple[dict[str, Any], Manifest]:
    content = _read_json(path)
    manifest = content.get("manifest")
    if not isinstance(manifest, dict):
        raise DataError(f"{path}: has no 'manifest'; it was not written by this harness")
    _check_version(manifest.get("schema_version"), f"{path}: manifest")
    plan = content.get("plan")
    try:
        return (plan if isinstance(plan, dict) else {}), Manifest.model_validate(manifest)
    except ValidationError as error:
        raise DataError(f"{path}: manifest: {_first_complaint(error)}") from None


def _read_environment(path: Path) -> Environment:
    content = _read_json(path)
    _check_version(content.get("schema_version"), str(path))
    try:
        return Environment.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: {_first_complaint(error)}") from None


def _first_complaint(error: ValidationError) -> str:
    """The first of a validation's complaints as half a sentence: field, what, and the value."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"not valid JSON, the line is torn or edited ({first['ctx']['error']})"
    place = ".".join(str(part) for part in first["loc"]) or "the object"
    value = "" if first["type"] == "missing" else f", not {first['input']!r:.60}"
    return f"{place}: {first['msg']}{value}"


def _read_table(directory: Path, name: str, model: type[Record], notes: list[str]) -> pd.DataFrame:
    jsonl, parquet = directory / f"{name}.jsonl", directory / f"{name}.parquet"
    if not jsonl.exists() and not parquet.exists():
        raise DataError(f"{jsonl}: the file is missing and {parquet.name} too; nothing was recorded here")
    if not jsonl.exists():
        return _read_parquet(parquet, model)
    content = _read_bytes(jsonl)
    digest = hashlib.sha256(content).hexdigest()
    if parquet.exists() and _is_current(parquet, jsonl, content, digest):
        return _read_parquet(parquet, model)
    table = parse_jsonl(content, model, jsonl)
    if not _holds(parquet, table, model):
        notes.append(_write_parquet(table, parquet, digest))
    return table


def raw_lines(directory: Path, name: str) -> tuple[Path, bytes] | None:
    """The JSON lines as they were recorded, also from an archive, and their file; None when neither is there.

    Raises:
        DataError: the file cannot be read, or its compression is damaged.
    """
    plain = directory / f"{name}.jsonl"
    packed = plain.with_name(plain.name + ARCHIVED_SUFFIX)
    if plain.exists():
        return plain, _read_bytes(plain)
    if not packed.exists():
        return None
    try:
        return packed, lzma.decompress(_read_bytes(packed))
    except lzma.LZMAError as error:
        raise DataError(f"{packed}: damaged, it cannot be unpacked: {error}") from None


def _read_raw(directory: Path, name: str, model: type[Record], notes: list[str]) -> pd.DataFrame:
    """From the JSON lines alone; a Parquet file beside them must hold the same rows."""
    found = raw_lines(directory, name)
    if found is None:
        raise DataError(
            f"{directory / name}.jsonl: the file is missing, and nothing can be verified without it, since the Parquet "
            "file is made of it; take it from a copy"
        )
    table = parse_jsonl(found[1], model, found[0])
    parquet = directory / f"{name}.parquet"
    if parquet.exists() and not _holds(parquet, table, model):
        raise DataError(
            f"{parquet}: has other rows than {found[0].name}; SHA256SUMS or a copy tells which was recorded"
        )
    return table


def _holds(parquet: Path, table: pd.DataFrame, model: type[Record]) -> bool:
    """A Parquet file with the same rows is left alone: a fresh checkout has times of its own, and stays clean."""
    try:
        return bool(_read_parquet(parquet, model).equals(table))
    except DataError:
        return False


def _read_bytes(path: Path) -> bytes:
    try:
        return get(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _is_current(parquet: Path, jsonl: Path, content: bytes, digest: str) -> bool:
    try:
        described = pq.read_metadata(io.BytesIO(get(parquet)))
    except (pa.ArrowException, OSError):
        return False
    named = (described.metadata or {}).get(DIGEST_KEY)
    if named is not None:
        return bool(named == digest.encode())
    is_not_older = parquet.stat().st_mtime_ns >= jsonl.stat().st_mtime_ns
    return is_not_older and bool(described.num_rows == content.count(b"\n"))


def parse_jsonl(content: bytes, model: type[Record], path: Path) -> pd.DataFrame:
    """Rows of a JSONL file; ``path`` is for the complaints only.

    Raises:
        DataError: a line is torn, not of this schema version, or not a record of this kind.
    """
    lines = _whole_lines(content, path)
    rows = [columns.row(parse_line(line, k, model, path)) for k, line in enumerate(lines, 1)]
    try:
        return columns.frame(rows, model)
    except OverflowError:
        line = 1 + next(k for k, row in enumerate(rows) if any(map(_is_too_large, row)))
        raise DataError(f"{path}, line {line}: a number is too large for 64 bits") from None


def _whole_lines(content: bytes, path: Path) -> list[bytes]:
    lines = content.split(b"\n")
    if lines.pop():
        raise DataError(
            f"{path}, line {len(lines) + 1}: the line ends in the middle, as after a crash; "
            "'python -m harness resume' repairs it"
        )
    return lines


def parse_line(line: bytes, number: int, model: type[Record], path: Path) -> Record:
    """One record; ``number`` and ``path`` are for the complaint.

    Raises:
        DataError: it is torn, edited, or of another version.
    """
    try:
        record = model.model_validate_json(line)
    except ValidationError as error:
        version = _version_in(line)
        if version is not None:
            _check_version(version, f"{path}, line {number}")
        raise DataError(f"{path}, line {number}: {_first_complaint(error)}") from None
    _check_version(record.__dict__["schema_version"], f"{path}, line {number}")
    return record


def _is_too_large(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= INT64_LIMIT


def _version_in(line: bytes) -> object:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value.get("schema_version") if isinstance(value, dict) else None


def _read_parquet(path: Path, model: type[Record]) -> pd.DataFrame:
    try:
        table = columns.typed(pq.read_table(io.BytesIO(get(path))).to_pandas(integer_object_nulls=True), model)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a table of {model.__name__.lower()}s of this version: {reason:.300}") from None
    for version in table["schema_version"].unique():
        _check_version(int(version), str(path))
    return table


def _write_parquet(table: pd.DataFrame, path: Path, digest: str) -> str:
    """Keep the parsed rows beside the JSONL; returns a note when that is not possible, else nothing."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({DIGEST_KEY: digest})
    buffer = io.BytesIO()
    pq.write_table(arrow, buffer, compression="zstd")
    try:
        put(path, buffer.getvalue())
    except AnalysisError as error:
        return f"{error}; the JSON lines were read and will be read again next time"
    return ""
