"""``python -m analysis claims``: whether what was recorded bears the claims out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.console import err_console, one_sentence, out_console
from analysis.errors import AnalysisError
from analysis.files import directory

if TYPE_CHECKING:
    from analysis.claims import Claimed

REFERENCE = "reference"


def claims(
    results: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the recorded campaigns are, one directory a claim.")
    ] = Path("results"),
    *,
    plans: Annotated[Path, typer.Option(metavar="DIR", help="The plan files that make the claims.")] = Path(
        "harness/plans"
    ),
    write: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Make the sections 'claims' and 'quote' of this Markdown file anew; may be repeated.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write DIR/report.html: this table, and the report of all that was recorded for it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Set every claim beside what was recorded for it; exit code 1 if a recorded one is not as expected.

    A claim stands in its plan file, in the table claim. Claims that nothing was recorded for are listed as such.
    """
    with one_sentence():
        from rich.table import Table
        from rich.text import Text

        from analysis import claims as claiming

        if report is not None:  # first, since all else takes a minute
            directory(report)
        found = claiming.read(plans, results)
        _write(write or [], found, results)
        if report is not None:
            _report(report, found, results)
        shown = Table(show_lines=True)
        for name in ("plan", "claim", "expected", "recorded"):
            shown.add_column(name, overflow="fold")
        for one in found:
            shown.add_row(*map(Text, (one.plan, one.claim.says, one.claim.expected, claiming.said(one))))
        out_console.print(shown)
        wrong = [one.plan for one in found if one.recorded and one.recorded.unexpected]
        if wrong:
            raise AnalysisError(f"not as expected: {', '.join(wrong)}; the table says what was found")


def _report(out: Path, found: tuple[Claimed, ...], results: Path) -> None:
    from analysis.artefacts import write_report
    from analysis.errors import DataError
    from analysis.load import load
    from analysis.pooling import scenarios
    from analysis.study import studies

    recorded = list(dict.fromkeys(results / one.data for one in found if one.recorded))
    if not recorded:
        raise DataError(f"{results}: nothing was recorded for any of the claims, so there is no report")
    campaigns = [load(path, samples=True) for path in recorded]
    page = write_report(out, studies(scenarios(campaigns)), found)
    err_console.print(f"written: {page}", markup=False)


def _write(paths: list[Path], found: tuple[Claimed, ...], results: Path) -> None:
    from analysis import claims as claiming
    from analysis.errors import DataError
    from analysis.files import put
    from analysis.verification import read_verdicts

    if not paths:
        return
    sections = {"claims": claiming.table(found)}
    recorded = results / REFERENCE / "verdict.json"
    if recorded.is_file():
        sections["quote"] = claiming.quote(read_verdicts(recorded)[0])
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        put(path, claiming.rewritten(text, sections, path).encode())
        err_console.print(f"written: {path}", markup=False)
