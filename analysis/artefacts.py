"""What an analysis leaves in a directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.claims import Claimed
from analysis.figures import figure4, style
from analysis.files import put
from analysis.frames import Scenario
from analysis.report import render
from analysis.study import Study
from analysis.verdict import Verdict, VerdictFile

VERDICT_NAME = "verdict.json"
REPORT_NAME = "report.html"


def verdict_bytes(verdicts: Sequence[Verdict]) -> bytes:
    """What ``verdict.json`` holds."""
    return VerdictFile(verdicts=tuple(verdicts)).model_dump_json(indent=2).encode() + b"\n"


def write_verdict(out: Path, verdicts: Sequence[Verdict]) -> Path:
    """Write ``verdict.json``."""
    return put(out / VERDICT_NAME, verdict_bytes(verdicts))


def write_figure4(out: Path, scenarios: Sequence[Scenario]) -> list[Path]:
    """Write ``figure4.png``, ``.svg`` and ``.pdf``.

    Raises:
        NotEnoughDataError: there is no complete pair.
    """
    figure = figure4.draw(scenarios)
    return [put(out / f"figure4.{kind}", style.render(figure, kind)) for kind in style.FORMATS]


def write_report(out: Path, studies: Sequence[Study], claimed: Sequence[Claimed] = ()) -> Path:
    """Write ``report.html``, with the table of claims when there are any."""
    return put(out / REPORT_NAME, render(studies, claimed).encode())
