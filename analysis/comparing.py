"""``python -m analysis compare``: for people, and for a project's CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from analysis.console import err_console, one_sentence, out_console

EXIT_BEYOND = 1
EXIT_UNDECIDED = 3
CPU_THRESHOLD_PERCENT = 5.0


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A campaign's directory: before, or the reference.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one's: after, the other machine or version.")],
    *,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="MS",
            help="Of the change of the slope difference, ms per process; by default A's equivalence margin (0.4).",
            show_default=False,
        ),
    ] = None,
    cpu_threshold: Annotated[
        float, typer.Option(min=0, metavar="PERCENT", help="Of the change of the CPU ratio.")
    ] = CPU_THRESHOLD_PERCENT,
    worse_only: Annotated[
        bool, typer.Option("--worse-only", help="What became smaller is within, however far.")
    ] = False,
    allow_undecided: Annotated[
        bool, typer.Option("--allow-undecided", help="Exit code 0 instead of 3 when the data do not decide.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Compare also other links, profiles, sizes, servers or stacks.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Set campaign B beside campaign A: two machines, two versions, before and after a change.

    Exit codes: 0 within the thresholds; 1 beyond one of them, or it could not be done; 2 bad usage, bad files,
    or not the same question; 3 undecided, the campaigns are too small to tell.
    """
    with one_sentence():
        from analysis import beside, comparison
        from analysis.load import load

        campaigns = [load(directory) for directory in (a, b)]
        for note in (note for campaign in campaigns for note in campaign.notes):
            err_console.print(f"note: {note}", markup=False)
        found = comparison.compare(
            *campaigns,
            threshold_ms=threshold,
            cpu_threshold_percent=cpu_threshold,
            worse_only=worse_only,
            anyway=anyway,
        )
        if json:
            content = comparison.ComparisonFile(comparisons=found)
            typer.echo(content.model_dump_json(indent=2))
        else:
            for one in found:
                for part in beside.renderables(one):
                    out_console.print(part)
        standings = {one.standing for one in found}
    if comparison.Standing.BEYOND in standings:
        raise typer.Exit(EXIT_BEYOND)
    if comparison.Standing.UNDECIDED in standings and not allow_undecided:
        raise typer.Exit(EXIT_UNDECIDED)
