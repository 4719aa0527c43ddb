"""What a campaign says while it runs: a bar on a terminal, plain lines elsewhere.  Goes to standard error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from harness.forecast import in_words


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
    def advance(self, done: int, total: int, left_s: float, what: str) -> None:
        """``done`` of ``total`` trials are recorded, ``what`` is next."""


class Bar(Reporter):
    """For a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._progress = Progress(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]} left"),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self, done: int, total: int, left_s: float, what: str) -> None:
        left = in_words(left_s)
        if self._task is None:
            self._task = self._progress.add_task(what, total=total, completed=done, left=left)
        self._progress.update(self._task, completed=done, total=total, left=left, description=what)


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

    def advance(self, done: int, total: int, left_s: float, what: str) -> None:
        step = max(1, total // 50)
        if done // step > self._said:
            self._said = done // step
            self.say(f"{done}/{total} trials, about {in_words(left_s)} left; next: {what}")


def reporter() -> Reporter:
    """The one that fits standard error."""
    console = Console(stderr=True)
    return Bar(console) if console.is_terminal else Lines(console)
