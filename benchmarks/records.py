"""What a benchmark leaves behind: one recording, one JSON file."""

from __future__ import annotations

import statistics
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA_VERSION = 1


class BenchmarkError(Exception):
    """A benchmark cannot go on; the text is one sentence."""


class Subject(StrEnum):
    """What does the TLS (or, among the calls, what stands between a program and its system calls)."""

    SECCOMP = "ssa-seccomp"
    PRELOAD = "ssa-preload"
    STUNNEL = "stunnel"
    HAPROXY = "haproxy"
    IN_PROCESS = "in-process"  # OpenSSL in the application; among the calls: no boundary at all


class Role(StrEnum):
    """Which side of TLS the application is."""

    CLIENT = "client"
    SERVER = "server"


class Record(BaseModel):
    """Frozen, and refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Row(Record):
    """One quantity of one subject, as measured in every round."""

    subject: Subject
    role: Role | None = None
    case: str = Field(description="what was done: full, resumed, down over 16 connections, ...")
    quantity: str
    unit: str
    rounds: tuple[float, ...] = Field(min_length=1)

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)


class Missing(Record):
    """A subject that this machine does not have, or that could not do the work, and why."""

    subject: Subject
    role: Role | None = None
    reason: str


class Recording(Record):
    """Everything that one run of one benchmark found."""

    schema_version: int = SCHEMA_VERSION
    benchmark: str
    command: str
    quick: bool
    started_at: str = Field(description="UTC, ISO 8601")
    duration_s: float
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    sizes: dict[str, int] = Field(description="how much work a round is")
    environment: dict[str, Any]
    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]


class Rows:
    """Collects one number a round for each quantity."""

    def __init__(self) -> None:
        self._values: dict[tuple[Subject, Role | None, str, str, str], list[float]] = {}

    def add(self, subject: Subject, role: Role | None, case: str, quantities: dict[tuple[str, str], float]) -> None:
        """Add one round's numbers, by (quantity, unit)."""
        for (quantity, unit), value in quantities.items():
            self._values.setdefault((subject, role, case, quantity, unit), []).append(value)

    def rows(self) -> tuple[Row, ...]:
        """Everything, in the order in which it first came."""
        return tuple(
            Row(subject=subject, role=role, case=case, quantity=quantity, unit=unit, rounds=tuple(values))
            for (subject, role, case, quantity, unit), values in self._values.items()
        )


def write(recording: Recording, directory: Path) -> Path:
    """Write ``NAME.json`` into ``directory``, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{recording.benchmark}.json"
    path.write_text(recording.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> Recording:
    """Read one recording.  BenchmarkError when it is none of this version."""
    try:
        return Recording.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BenchmarkError(f"{path} is no recording of this version: {place}: {first['msg']}") from None
