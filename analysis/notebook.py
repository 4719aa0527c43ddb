"""What the notebooks need beside the analysis itself: which campaign, and figures and tables that a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis import sentences, tables
from analysis.errors import DataError
from analysis.estimates import Estimate, Missing, Result
from analysis.figures.style import render
from analysis.load import load
from analysis.phases import used_samples
from analysis.pooling import scenario, scenarios
from analysis.study import Study, studies, study
from analysis.verdict import Verdict
from harness.records import Profile

pd.set_option("display.max_colwidth", None)  # a notebook would cut the column 'how' in the middle
VARIABLE = "CAMPAIGN"
VARIABLE_2018 = "CAMPAIGN_2018"
DESIGNS = "results/paper-2018"
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


def open_designs(environ: Mapping[str, str], here: Path) -> list[Study]:
    """Read and judge every part of a campaign that has both the sound profile and paper-2018.

    The environment variable CAMPAIGN_2018 names it; otherwise it is the recorded one of the checkout.

    Raises:
        DataError: there is none, or it lacks one of the two profiles.
    """
    named = environ.get(VARIABLE_2018)
    found = [Path(named)] if named else [root / DESIGNS for root in (here, *here.parents) if (root / DESIGNS).is_dir()]
    if not found:
        raise DataError(f"{DESIGNS} is not here; name a campaign in the variable {VARIABLE_2018}")
    campaign = load(found[0], samples=True)
    profiles = {profile for _, profile in campaign.manifest.parts}
    for wanted in (Profile.SOUND, Profile.PAPER_2018):
        if wanted not in profiles:
            raise DataError(f"{found[0]}: the profile {wanted} is not in it; run one with both and name it")
    print(f"Reading {found[0].name}, campaign {campaign.manifest.campaign}.")  # noqa: T201
    for warning in campaign.environment.warnings:
        print(f"Warning: {warning.text} {warning.advice}")  # noqa: T201
    return studies(scenarios([campaign]))


def designs(found: Sequence[Study]) -> pd.DataFrame:
    """What each design says of the same link and stacks, one a row."""
    rows = []
    for one in found:
        verdict, model = one.verdict, one.verdict.paper_model
        p = "not enough data" if isinstance(model, Missing) else sentences.p_text(model.p)
        told = (sentences.brief_slope(verdict), sentences.brief_cpu(verdict), p, sentences.word(verdict))
        rows.append((str(verdict.link), str(verdict.profile), *told))
    level = " or ".join(sorted({sentences.ci(1 - one.verdict.judgement.alpha) for one in found}))
    columns = [
        "link",
        "profile",
        f"slope difference ({level})",
        f"CPU per MB ({level})",
        "the paper's own test",
        "verdict",
    ]
    return pd.DataFrame(rows, columns=columns).set_index(["link", "profile"])


def inside_the_clock(found: Iterable[Study]) -> pd.DataFrame:
    """How many of each stack's processes made their TLS handshake after the clock had started, in percent."""
    rows = {}
    for one in found:
        samples = used_samples(one.scenario)
        inside = samples["tls_offset_ns"].notna().groupby(samples["arm"]).mean() * 100
        names = {name: inside.get(arm) for arm, name in enumerate(one.scenario.arms)}
        rows[str(one.verdict.link), str(one.verdict.profile)] = names
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["link", "profile"])


def first_in_pair(found: Iterable[Study]) -> pd.DataFrame:
    """In how many pairs the other stack ran before the baseline, and how many trials lay between the two."""
    rows = {}
    for one in found:
        pairs = one.scenario.pairs
        between = (pairs["sequence_1"] - pairs["sequence_0"]).abs() - 1
        rows[str(one.verdict.link), str(one.verdict.profile)] = {
            "pairs": len(pairs),
            f"{one.scenario.arms[1]} first": int((pairs["position_1"] == 0).sum()),
            "trials between, median": between.median(),
            "trials between, most": between.max(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["link", "profile"])


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
    return _table(tables.estimates(verdict))


def results(found: Iterable[Result]) -> pd.DataFrame:
    """Estimates, or why there are none, one a row."""
    return _table((one.name, one) for one in found)


def _table(found: Iterable[tuple[str, Result]]) -> pd.DataFrame:
    named = list(found)
    level = next((sentences.ci(one.level) for _, one in named if isinstance(one, Estimate)), "CI")
    columns = ["estimate", "ms per process", level, "p", "how"]
    rows = [tables.cells(name, one) for name, one in named]
    return pd.DataFrame(rows, columns=columns).set_index("estimate")
