"""``python -m analysis power``: what a pilot says about the campaign to come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.console import err_console, one_sentence, out_console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from analysis.frames import Scenario
    from analysis.sizing import Question, Sizing


def power(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The pilot: a campaign's directory.")],
    *,
    precision: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="MS",
            help="Half-width of the interval, ms per process; by default half of the plan's relevant effect.",
            show_default=False,
        ),
    ] = None,
    difference: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="MS",
            help="A slope difference to be found; by default the plan's relevant effect.",
            show_default=False,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            min=1e-6,
            metavar="MS",
            help="To be ruled out; by default the plan's margin.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say how many blocks, and minutes, a wanted precision or detectable difference needs.

    Levels, machine and link are the pilot's. Any of the three options alone asks that question only.
    """
    with one_sentence():
        from analysis.errors import DataError
        from analysis.frames import places
        from analysis.load import load
        from analysis.pooling import scenario
        from analysis.sizing import size

        campaign = load(directory)
        for note in campaign.notes:
            err_console.print(f"note: {note}", markup=False)
        pilots = [pilot for place in places(campaign.manifest) if not (pilot := scenario([campaign], place)).is_2018]
        if not pilots:
            raise DataError(f"{directory}: only of profile paper-2018, which gets no verdict; name a pilot of another")
        found = [size(pilot, _questions(pilot, precision, difference, margin)) for pilot in pilots]
        if json:
            typer.echo(f"[{','.join(one.model_dump_json(indent=2) for one in found)}]")
            return
        for one in found:
            for part in _shown(one):
                out_console.print(part)


def _questions(
    scenario: Scenario, precision: float | None, difference: float | None, margin: float | None
) -> tuple[tuple[Question, float], ...]:
    from analysis.sizing import Question

    judgement = scenario.manifest.judgement
    relevant = judgement.relevant_ms_per_process
    asked = {Question.PRECISION: precision, Question.DIFFERENCE: difference, Question.EQUIVALENCE: margin}
    if all(value is None for value in asked.values()):
        defaults = (relevant / 2, relevant, judgement.margin_ms_per_process)
        asked = dict(zip(asked, defaults, strict=True))
    return tuple((question, value) for question, value in asked.items() if value is not None)


def _shown(found: Sizing) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from analysis.estimates import Missing
    from analysis.sentences import significant, stopping
    from analysis.sizing import SAID

    where = f"{', '.join(found.campaigns)}, {found.link}, profile {found.profile}"
    yield Text(f"Pilot: {where}, {found.pilot_blocks} blocks, {found.pilot_levels} levels")
    own = f", {significant(found.between_sd, 3)} of it the blocks' own" if found.between_sd else ""
    for said in stopping(found.stopping):
        yield Text(said)
    if any(one.early for one in found.stopping):
        yield Text("It ended when its spread was small, so take these numbers for the fewest blocks.", style="yellow")
    yield Text(
        f"{found.other} minus {found.baseline}: one block's slope difference varies by "
        f"{significant(found.block_sd, 3)} ms per process (standard deviation{own}); "
        f"a block takes {significant(found.minutes_per_block, 2)} min"
    )
    table = Table(title=f"Blocks for a chance of {found.power:g}", title_justify="left", title_style="bold")
    for name in ("what", "blocks", "minutes", "chance", "simulated"):
        table.add_column(name, justify="left" if name == "what" else "right", overflow="fold")
    for answer in found.answers:
        if isinstance(answer, Missing):
            table.add_row(Text(f"{answer.name}: {answer.reason}"), "", "", "", "")
            continue
        what = SAID[answer.question].format(f"{answer.wanted:g} {answer.unit}")
        chances = (f"{answer.chance:.2f}", f"{answer.simulated:.2f}")
        table.add_row(what, str(answer.blocks), f"{answer.minutes:.1f}", *chances)
    yield table
    yield Text(
        f"'simulated' is the share of {found.campaigns_simulated} campaigns made of the pilot's own residuals.",
        style="dim",
    )
