"""What the notebooks need beside the analysis itself: which campaign, and figures and tables that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import tables
from analysis.errors import DataError
from analysis.estimates import Result
from analysis.figures.style import render
from analysis.load import load
from analysis.pooling import scenario
from analysis.study import Study, study
from analysis.verdict import Verdict

VARIABLE = "CAMPAIGN"
RECORDED = ("results/reference", "results/example")


def campaign_directory(environ: Mapping[str, str], here: Path) -> tuple[Path, str]:
    """The campaign to read, and a sentence that says which and why.

    The environment variable CAMPAIGN names it; otherwise it is the recorded reference of the checkout that
    ``here`` lies in, and where that is missing the tiny example.

    Raises:
        DataError: none of them exists.
    """
    if named := environ.get(VARIABLE):
        return Path(named), f"Reading {Path(named).name}, which {VARIABLE} names."
    for name in RECORDED:
        for root in (here, *here.parents):
            if (root / name / "plan.json").is_file():
                why = "" if name == RECORDED[0] else f" {RECORDED[0]} is not here: this example is too small to judge."
                return root / name, f"Reading {name}.{why}"
    raise DataError(f"neither {' nor '.join(RECORDED)} is here; name a campaign in the variable {VARIABLE}")


def open_study(environ: Mapping[str, str], here: Path) -> Study:
    """Read, fit and judge the campaign; says which one it is, and what warns of it."""
    directory, sentence = campaign_directory(environ, here)
    campaign = load(directory, samples=True)
    print(sentence)  # noqa: T201
    for warning in campaign.environment.warnings:
        print(f"Warning: {warning.text} {warning.advice}")  # noqa: T201
    return study(scenario([campaign]))


@dataclass(frozen=True)
class Shown:
    """A figure as a notebook shows it."""

    png: bytes

    def _repr_png_(self) -> bytes:
        return self.png


def show(figure: Figure) -> Shown:
    """Put this at the end of a cell."""
    return Shown(render(figure, "png"))


def estimates(verdict: Verdict) -> pd.DataFrame:
    """The primary estimate, the checks and the paper's model, one a row."""
    rows = [tables.cells(name, result) for name, result in tables.estimates(verdict)]
    columns = ["estimate", "ms per process", "95 % CI", "p", "how"]
    return pd.DataFrame(rows, columns=columns).set_index("estimate")


def results(found: Iterable[Result]) -> pd.DataFrame:
    """Estimates, or why there are none, one a row."""
    columns = ["estimate", "ms per process", "95 % CI", "p", "how"]
    return pd.DataFrame([tables.cells(one.name, one) for one in found], columns=columns).set_index("estimate")
