"""The commands of ``python -m analysis``.  Heavy libraries are imported inside the commands, so help is quick.

Exit codes: 0 done; 1 it could not be done (too few data, a file cannot be written, ``verify`` found
differences); 2 bad usage, or a campaign whose files are missing, torn, foreign or do not belong together.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis import files
from analysis.claiming import claims
from analysis.comparing import compare
from analysis.console import err_console, one_sentence, out_console
from analysis.errors import AnalysisError, DataError
from analysis.planning import power

if TYPE_CHECKING:
    from analysis.frames import Scenario
    from analysis.study import Study

MAX_DAMAGE = 100

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Judge recorded campaigns: regression, verdict, Figure 4, report.\n\n"
    "DIR is a campaign's directory, for example results/reference. Several directories may be given: "
    "those that can share one fit (same link, profile, boundary, stacks, server, size, judgement and machine) are "
    "pooled, the others are judged apart.",
    epilog="Exit codes: 0 done; 1 it could not be done; 2 bad usage or bad files; compare has its own.",
)
app.command()(compare)
app.command()(power)
app.command()(claims)

Directories = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Directories of campaigns.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="PATH", help="Where to write; by default into DIR.", show_default=False),
]


def _scenarios(directories: list[Path], *, samples: bool, raw: bool = False) -> tuple[Scenario, ...]:
    from analysis.load import load
    from analysis.pooling import apart, scenarios

    campaigns = [load(directory, samples=samples, raw=raw) for directory in directories]
    for campaign in campaigns:
        for note in campaign.notes:
            err_console.print(f"note: {note}", markup=False)
    found = scenarios(campaigns)
    for sentence in apart(found):
        err_console.print(f"note: {sentence}", markup=False)
    return found


def _studies(directories: list[Path], *, samples: bool) -> list[Study]:
    from analysis.study import studies

    return studies(_scenarios(directories, samples=samples))


def _target(directories: list[Path], out: Path | None) -> Path:
    if out is not None:
        return files.directory(out)
    if len(directories) > 1:
        raise DataError("several campaigns were given; say with --out where the result shall go")
    return directories[0]


def _say(path: Path) -> None:
    out_console.print(str(path), markup=False)


@app.command()
def figure4(directories: Directories, out: Out = None) -> None:
    """Draw Figure 4: figure4.png, figure4.svg and figure4.pdf."""
    with one_sentence():
        from analysis.artefacts import write_figure4

        target = _target(directories, out)
        for path in write_figure4(target, _scenarios(directories, samples=False)):
            _say(path)


@app.command()
def regression(
    directories: Directories,
    json: Annotated[bool, typer.Option("--json", help="Print verdict.json's content instead.")] = False,
) -> None:
    """Fit, check and judge; print the result, write none."""
    with one_sentence():
        from analysis import sentences, tables
        from analysis.artefacts import verdict_bytes

        studies = _studies(directories, samples=False)
        if json:
            typer.echo(verdict_bytes([study.verdict for study in studies]).decode(), nl=False)
            return
        for study in studies:
            out_console.print(tables.regression(study.verdict))
            for text in (sentences.slopes, sentences.headline, sentences.cpu, sentences.judgement):
                out_console.print(text(study.verdict), markup=False)
            if study.verdict.libraries:
                out_console.print(study.verdict.libraries, markup=False)
            if said := sentences.boundaries(study.verdict):
                out_console.print(said, markup=False)


@app.command()
def report(directories: Directories, out: Out = None) -> None:
    """Write report.html: every figure and table in one file."""
    with one_sentence():
        from analysis.artefacts import write_report

        target = _target(directories, out)
        _say(write_report(target, _studies(directories, samples=True)))


@app.command("all")
def everything(directories: Directories, out: Out = None) -> None:
    """Do it all: verdict.json, figure4.{png,svg,pdf}, report.html, and the result in the terminal."""
    with one_sentence():
        from analysis import artefacts, tables
        from analysis.errors import NotEnoughDataError

        target = _target(directories, out)
        studies = _studies(directories, samples=True)
        artefacts.write_verdict(target, [study.verdict for study in studies])
        try:
            artefacts.write_figure4(target, [study.scenario for study in studies])
        except NotEnoughDataError as error:
            err_console.print(f"note: no figure: {error}", markup=False)
        page = artefacts.write_report(target, studies)
        for study in studies:
            for part in tables.summary(study):
                out_console.print(part)
        out_console.print(f"results: {target}  (open {page})", markup=False)


@app.command()
def verify(
    directories: Directories,
    recorded: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The verdict to verify; by default DIR/verdict.json.", show_default=False),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Also a number that differs after its ninth digit is a difference.")
    ] = False,
) -> None:
    """Does the recorded verdict.json say what the raw data say now? Writes nothing; exit code 1 if not.

    Everything is computed again from the JSON lines, samples and looks included; Parquet files must hold the same
    rows. Damaged lines are named one by one (exit code 2).
    """
    with one_sentence():
        from analysis.study import studies
        from analysis.verification import differences, look_differences, read_verdicts, versions_apart

        path = recorded or _target(directories, None) / "verdict.json"
        before = read_verdicts(path)
        _refuse_damage(directories)
        scenarios = _scenarios(directories, samples=True, raw=True)
        campaigns = {campaign.directory: campaign for scenario in scenarios for campaign in scenario.campaigns}.values()
        now = [study.verdict for study in studies(scenarios)]

        def differ(*, exact: bool) -> list[str]:
            looks = [line for campaign in campaigns for line in look_differences(campaign, exact=exact)]
            return [*differences(before, now, exact=exact), *looks]

        every, found = differ(exact=True), differ(exact=exact)
        for line in found:
            err_console.print(line, markup=False)
        if found:
            raise AnalysisError(f"{path}: does not say what the data say now ({len(found)} differences, above)")
        said = "to the last digit"
        if every:
            why = versions_apart(before, now) or "the same versions, on a processor of another kind"
            said = f"to the ninth digit; {len(every)} numbers differ after it: {why}"
        out_console.print(f"{path}: says what the data say, {said}", markup=False)


def _refuse_damage(directories: list[Path]) -> None:
    """Name every damaged line."""
    from analysis.damage import damaged

    found = [line for directory in directories for line in damaged(directory)]
    for line in found[:MAX_DAMAGE]:
        err_console.print(line, markup=False)
    if found:
        raise DataError(f"{len(found)} damaged lines (above, at most {MAX_DAMAGE} of them); nothing was computed")


@app.command()
def look(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A campaign's directory; it may still run.")],
    blocks: Annotated[
        int | None,
        typer.Option(min=0, help="Of the first so many blocks; by default of all.", show_default=False),
    ] = None,
) -> None:
    """How wide is the primary interval so far? JSON, one half-width a link, profile and boundary, and nothing else.

    What a plan with [stopping] asks between two blocks; reads the JSON lines, writes nothing.
    """
    with one_sentence():
        from analysis.load import load_so_far
        from analysis.stopping import half_widths

        campaign = load_so_far(directory)
        found = half_widths(campaign, campaign.manifest.blocks if blocks is None else blocks)
        typer.echo(f"[{','.join(one.model_dump_json() for one in found)}]")


@app.command()
def synthetic(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A directory that does not exist yet.")],
    levels: Annotated[int, typer.Option(min=1, help="n = 1 ... LEVELS.")] = 100,
    blocks: Annotated[int, typer.Option(min=1, help="Complete randomised blocks.")] = 10,
    difference: Annotated[float, typer.Option(help="True slope difference, ms per process.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same campaign.")] = 1,
) -> None:
    """Make a campaign with a known truth, labelled as synthetic, to try the analysis on."""
    with one_sentence():
        from analysis.synthetic import Design, Truth, campaign, write

        if out.exists():
            raise DataError(f"{out}: exists already; name a directory that does not")
        design = Design(levels=tuple(range(1, levels + 1)), blocks=blocks)
        write(out, campaign(design, Truth(slope_difference_ms=difference), seed))
        _say(out)


@app.command()
def selfcheck(
    campaigns: Annotated[int, typer.Option(min=50, help="Synthetic campaigns of each kind.")] = 400,
    residuals: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take the noise from this campaign's residuals.", show_default=False),
    ] = None,
) -> None:
    """Does the pipeline find a known truth, and nothing where nothing is? Exit code 1 if not."""
    with one_sentence():
        from analysis.selfcheck import run, run_on

        if residuals is None:
            results = run(campaigns)
        else:
            results = [
                result
                for scenario in _scenarios([residuals], samples=False)
                for result in run_on(scenario.rows, campaigns)
            ]
        for result in results:
            out_console.print(str(result), markup=False)
        if not all(result.passed for result in results):
            raise AnalysisError("the pipeline does not recover a known truth; do not trust its verdicts")
