"""Subjects side by side: every cell once a round, each round beginning with another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.records import BenchmarkError, Missing, Role, Rows, Subject
from benchmarks.scenes import Scene, scene
from benchmarks.subjects import require

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cell:
    """One subject, in one role where there are roles."""

    subject: Subject
    role: Role | None = None

    def __str__(self) -> str:
        return self.subject if self.role is None else f"{self.subject}, {self.role}"


CELLS = tuple(Cell(subject, role) for role in Role for subject in Subject)


@dataclass
class Findings:
    """What a benchmark fills."""

    say: Say
    rows: Rows = field(default_factory=Rows)
    missing: list[Missing] = field(default_factory=list)

    def leave_out(self, cell: Cell, error: BenchmarkError) -> None:
        """Note that a cell cannot be measured, and why."""
        self.say(f"  {cell}: left out: {error}")
        self.missing.append(Missing(subject=cell.subject, role=cell.role, reason=str(error)))


def alternate(cells: Sequence[Cell], rounds: int, measure: Callable[[Cell], None], findings: Findings) -> None:
    """Measure every cell once a round; one that fails is left out from then on, with its reason."""
    left = list(cells)
    for number in range(rounds):
        begin = number % len(left) if left else 0
        for cell in (*left[begin:], *left[:begin]):
            try:
                measure(cell)
            except BenchmarkError as error:
                findings.leave_out(cell, error)
                left.remove(cell)
        findings.say(f"  round {number + 1} of {rounds}")


def open_scenes(cells: Sequence[Cell], stack: ExitStack, findings: Findings) -> dict[Cell, Scene]:
    """Start every cell's scene; those that cannot be started are left out."""
    scenes = {}
    for cell in cells:
        assert cell.role is not None
        try:
            require(cell.subject)
            scenes[cell] = stack.enter_context(scene(cell.subject, cell.role))
        except BenchmarkError as error:
            findings.leave_out(cell, error)
    return scenes


def succeeded(answer: dict[str, object], count: int) -> None:
    """BenchmarkError unless every one of ``count`` steps went well."""
    if answer["done"] != count:
        raise BenchmarkError(f"{answer['failed']} of {count} failed: {answer['reason']}")


def by_party(
    scene: Scene, seconds: dict[str, float], what: str, factor: float, unit: str
) -> dict[tuple[str, str], float]:
    """CPU time in ``unit`` (seconds times ``factor``), by party.

    And for the whole of the measured side: the application with whatever does its TLS; the peer is apart.
    """
    ours = sum(value for party, value in seconds.items() if party != "peer")
    parts = {(f"{what}, {party}", unit): value * factor for party, value in seconds.items()}
    return {(what, unit): ours * factor, **parts}
