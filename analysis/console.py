"""Where the commands speak, and how they end when something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from analysis.errors import AnalysisError

out_console = Console(soft_wrap=True, highlight=False)
err_console = Console(stderr=True, soft_wrap=True, highlight=False)


@contextmanager
def one_sentence() -> Iterator[None]:
    """End with the error's sentence on stderr and its exit code."""
    try:
        yield
    except AnalysisError as error:
        err_console.print(f"error: {error}", markup=False, style="red")
        raise typer.Exit(error.exit_code) from None
