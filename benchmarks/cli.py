"""The commands of ``python -m benchmarks``.

Exit codes: 0 done; 1 it could not be done, or a page is stale; 2 bad usage; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.records import BenchmarkError

app = typer.Typer(
    help="Measure what the SSA costs on this machine, beside stunnel, HAProxy and OpenSSL in the process.",
    epilog="Everything happens on loopback and ends by itself. All five take less than ten minutes on two cores.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

NAMES = ("calls", "connections", "handshakes", "policies", "relay")
RECORDINGS = Path("results/benchmarks")
PAGE = Path("docs/benchmarks.md")

Directory = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where recordings are kept.")]


def main() -> None:
    """The program."""
    try:
        app(prog_name="python -m benchmarks")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def one_sentence() -> Iterator[None]:
    """End with the error's sentence on stderr and exit code 1."""
    try:
        yield
    except BenchmarkError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Of {', '.join(NAMES)}; all when none is named.")
    ] = None,
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="Under a minute: shows that it works, measures nothing.")
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Instead of the benchmark's own number of rounds.", show_default=False)
    ] = None,
    out: Directory = RECORDINGS,
) -> None:
    """Measure, and record each benchmark as DIR/NAME.json.

    [bold]calls[/bold]: microseconds for each call of each boundary, and what it adds to calls on plain sockets.

    [bold]connections[/bold]: 1,000 at once; time to open them, memory and descriptors of an idle one.

    [bold]handshakes[/bold]: how many a second, CPU time of each; full and resumed.

    [bold]policies[/bold]: CPU time that rules and strategies add to a handshake.

    [bold]relay[/bold]: CPU seconds per gigabyte, throughput; both directions, one connection and sixteen.
    """
    chosen = names or list(NAMES)
    if unknown := [name for name in chosen if name not in NAMES]:
        raise typer.BadParameter(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    failures = 0
    for name in chosen:
        try:
            _run_one(name, quick=quick, rounds=rounds, out=out)
        except typer.Exit:  # said already; the others go on
            failures += 1
    if failures:
        raise typer.Exit(1)


def _run_one(name: str, *, quick: bool, rounds: int | None, out: Path) -> None:
    with one_sentence():
        from benchmarks.recording import record
        from benchmarks.records import write

        typer.echo(str(write(record(name, quick=quick, rounds=rounds, say=typer.echo), out)))


@app.command()
def table(
    *,
    out: Directory = RECORDINGS,
    page: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = PAGE,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 when the page is stale.")] = False,
) -> None:
    """Write docs/benchmarks.md from the recordings, so that no number is without its command."""
    with one_sentence():
        from benchmarks.page import render
        from benchmarks.records import read

        text = render([read(out / f"{name}.json") for name in NAMES if (out / f"{name}.json").exists()])
        if not check:
            page.write_text(text, encoding="utf-8")
        elif not page.exists() or page.read_text("utf-8") != text:
            raise BenchmarkError(f"{page} is stale; renew it with: python -m benchmarks table")
