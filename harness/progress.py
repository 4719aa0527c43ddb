"""What a campaign says while it runs: a live view on a terminal, plain lines elsewhere.  Goes to standard error.

Both have the trial that is next, the medians of its cell so far, what failed, and the time left; nobody should
judge by the medians, which the analysis does when all is there.
"""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from harness.forecast import in_words
from harness.order import PlannedTrial
from harness.records import Outcome, Trial


class Standing:
    """What has been recorded so far, as far as a person wants to see it.  Pure."""

    def __init__(self) -> None:
        self._elapsed_ns: dict[tuple[str, str, int], dict[str, list[int]]] = {}
        self.not_ok = 0

    def add(self, trial: Trial) -> None:
        """Take note of a recorded trial."""
        if trial.outcome is not Outcome.OK or trial.elapsed_ns is None:
            self.not_ok += 1
            return
        name = trial.trial_id.split("-", 2)[2].rpartition("-n")[0]  # the arm's: see harness.order
        cell = self._elapsed_ns.setdefault((trial.link, trial.profile, trial.n), {})
        cell.setdefault(name, []).append(trial.elapsed_ns)

    def medians(self, planned: PlannedTrial) -> str:
        """``medians so far: openssl 12.3 ms, ssa 12.9 ms`` of the cell of a trial; empty before its first one."""
        cell = self._elapsed_ns.get((planned.part.link, planned.part.profile, planned.n), {})
        shown = ", ".join(f"{name} {statistics.median(times) / 1e6:.1f} ms" for name, times in sorted(cell.items()))
        return f"medians so far: {shown}" if shown else ""


@dataclass(frozen=True)
class Now:
    """Where a campaign stands before a trial."""

    done: int  # of the trials that are planned
    total: int
    left_s: float
    trial: str  # the one that is next
    medians: str = ""
    not_ok: int = 0
    at_most: bool = False  # a rule may end the campaign before its last block

    @property
    def left(self) -> str:
        """The time left, in words."""
        return f"{in_words(self.left_s)}{' or less' if self.at_most else ''}"

    @property
    def failures(self) -> str:
        """How many trials were not ok, in words; empty for none."""
        return f"{self.not_ok} not ok" if self.not_ok else ""


class Reporter(ABC):
    """Told about every trial."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.campaign: Path | None = None  # the directory, as soon as there is one

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def advance(self, now: Now) -> None:
        """A trial is about to begin."""


class Bar(Reporter):
    """For a terminal: a bar, and below it the cell that is measured."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("{task.fields[left]} left"))
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=None, left="")
        self._live = Live(self._progress, console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def advance(self, now: Now) -> None:
        self._progress.update(self._task, completed=now.done, total=now.total, left=now.left)
        line = Text("  ".join(filter(None, (now.trial, now.medians))), no_wrap=True, overflow="ellipsis")
        if now.failures:
            line.append(f"  {now.failures}", style="red")
        self._live.update(Group(self._progress, line), refresh=True)


class Lines(Reporter):
    """For files and CI: about fifty lines a campaign."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._said = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def advance(self, now: Now) -> None:
        step = max(1, now.total // 50)
        if now.done // step > self._said:
            self._said = now.done // step
            rest = "".join(f"; {part}" for part in (now.medians, now.failures) if part)
            self.say(f"{now.done}/{now.total} trials, about {now.left} left; next: {now.trial}{rest}")


def reporter() -> Reporter:
    """The one that fits standard error."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(console)
