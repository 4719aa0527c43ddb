"""One HTML file with everything; no other resource is needed to read it.  Pure: studies in, text out.

Every text that comes from a campaign's files is escaped by the template (autoescape); figures are data URIs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from analysis import claims, processes, sentences, tables
from analysis.claims import Claimed
from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate, Missing, Result
from analysis.figures import figure4, forest, style
from analysis.figures.catalogue import CATALOGUE, Entry
from analysis.frames import left_out
from analysis.phases import PHASES, phase_times, used_samples
from analysis.sensitivity import sensitivity
from analysis.study import Study
from analysis.trends import trends
from harness.records import Boundary, Profile

MAX_REASONS = 20
MAX_UNUSUAL = 50
FOREST = Entry(
    "forest",
    "All comparisons",
    "One row a comparison. Left, by how much the slopes differ: right of zero the first-named stack takes longer. An "
    "interval wholly inside the grey margin rules out a difference as large as that, one wholly outside shows it. "
    "Right, what the first-named stack costs in CPU time, the other being 1. Filled: it got a verdict; open: told and "
    "not judged.",
    lambda study: forest.draw([study]),
)


@dataclass(frozen=True)
class Picture:
    """A drawn figure, or why there is none."""

    name: str
    title: str
    reading: str
    uri: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Section:
    """All that the template shows of one scenario; ``id`` is unique on the page and ends every anchor."""

    id: str
    study: Study
    pictures: dict[str, Picture]
    levels: list[dict[str, Any]]
    shown_levels: list[int]
    estimates: list[tuple[str, str, str, str, str]]
    fates: list[tuple[str, list[int]]]
    reasons: list[tuple[str, str, str, int]]
    unusual: list[dict[str, Any]]
    phases: list[dict[str, Any]]
    sensitivity: list[tuple[str, str, str, str, str]]
    straggling: list[tuple[str, str, str, str, str]]
    trends: list[tuple[str, ...]]
    percentiles: list[dict[str, Any]]
    environments: list[tuple[str, list[tuple[str, str]]]]
    plans: list[tuple[str, str]]


def render(studies: Sequence[Study], claimed: Sequence[Claimed] = ()) -> str:
    """The report of these scenarios; before them the claims that were to be tested, when there are any."""
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"signed": sentences.signed, "p_text": sentences.p_text}
    template = environment.get_template("report.html.j2")
    levels = sorted({sentences.ci(1 - study.verdict.judgement.alpha) for study in studies})
    return template.render(
        sections=[section(study, name) for study, name in zip(studies, identifiers(studies), strict=True)],
        overview=_overview(studies),
        levels=" or ".join(levels),
        claims=[(one, claims.said(one)) for one in claimed],
        sentences=sentences,
        is_synthetic=any(study.verdict.is_synthetic for study in studies),
    )


def _overview(studies: Sequence[Study]) -> list[Picture]:
    """All scenarios beside each other, when there are several: what was found, and Figure 4."""
    if len(studies) < 2:
        return []
    lines = CATALOGUE[0]
    return [
        _picture(FOREST, lambda: forest.draw(studies)),
        _picture(lines, lambda: figure4.draw([study.scenario for study in studies])),
    ]


def identifiers(studies: Sequence[Study]) -> list[str]:
    """One for each study, by its place and, where that is not enough, its number: wan, wan-transfer-preload, wan-2."""
    found: list[str] = []
    for study in studies:
        place = study.scenario.place
        usual = (str(Profile.SOUND), str(Boundary.SECCOMP))
        name = "-".join([str(place.link), *(str(x) for x in (place.profile, place.boundary) if str(x) not in usual)])
        found.append(name if name not in found else f"{name}-{len(found) + 1}")
    return found


def section(study: Study, name: str) -> Section:
    """Collect what the template shows."""
    return Section(
        id=name,
        study=study,
        pictures={entry.name: _entry_picture(entry, study) for entry in CATALOGUE},
        levels=_records(tables.by_level(study.scenario)),
        shown_levels=tables.readable([int(n) for n in tables.by_level(study.scenario).index]),
        estimates=[tables.cells(name, result) for name, result in tables.estimates(study.verdict)],
        fates=_fates(study.scenario.trials),
        reasons=_reasons(study.scenario.trials),
        unusual=_unusual(study),
        phases=_phases(study),
        sensitivity=[tables.cells(result.name, result) for result in _sensitivity(study)],
        straggling=_straggling(study),
        trends=_trends(study),
        percentiles=_percentiles(study),
        environments=list(_environments(study)),
        plans=[(c.manifest.campaign, _pretty(c.plan)) for c in study.scenario.campaigns],
    )


def _entry_picture(entry: Entry, study: Study) -> Picture:
    return _picture(entry, lambda: entry.draw(study))


def _picture(entry: Entry, draw: Any) -> Picture:
    try:
        figure: Figure = draw()
    except NotEnoughDataError as error:
        return Picture(entry.name, entry.title, entry.reading, missing=str(error))
    encoded = base64.b64encode(style.render(figure, "svg")).decode()
    return Picture(entry.name, entry.title, entry.reading, uri=f"data:image/svg+xml;base64,{encoded}")


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.reset_index().to_dict("records")]


def _fates(trials: pd.DataFrame) -> list[tuple[str, list[int]]]:
    table = left_out(trials)
    return [(str(fate), [int(count) for count in row]) for fate, row in zip(table.index, table.to_numpy(), strict=True)]


def _reasons(trials: pd.DataFrame) -> list[tuple[str, str, str, int]]:
    """The commonest reasons of trials that did not end well: outcome, arm, reason, how often."""
    bad = trials[trials["outcome"] != "ok"]
    counts = bad.groupby(["outcome", "impl", "reason"], observed=True).size().sort_values(ascending=False)
    table = counts.head(MAX_REASONS).rename("count").reset_index()
    return [(str(row.outcome), str(row.impl), str(row.reason), int(str(row.count))) for row in table.itertuples()]


def _unusual(study: Study) -> list[dict[str, Any]]:
    rows = study.scenario.rows
    found = rows[study.unusual != ""].assign(how=study.unusual[study.unusual != ""])
    return _records(found[["trial_id", "impl", "n", "sequence", "ms", "how"]].head(MAX_UNUSUAL))


def _phases(study: Study) -> list[dict[str, Any]]:
    """Phase medians at a readable choice of levels: one row a phase and arm."""
    table = phase_times(used_samples(study.scenario))
    if table.empty:
        return []
    levels = tables.readable(sorted(table.index.get_level_values("n").unique()), 8)
    order = [phase for phase in PHASES if phase in table.index.get_level_values("phase")]
    wide = table["median"].unstack("n").loc[order, levels].reset_index()
    names = study.scenario.arms
    return [
        {"phase": row["phase"], "arm": names[row["arm"]], "values": {int(n): row[n] for n in levels}}
        for row in wide.to_dict("records")
    ]


def _sensitivity(study: Study) -> tuple[Result, ...]:
    return sensitivity(study.scenario, study.verdict.judgement.alpha)


def _straggling(study: Study) -> list[tuple[str, str, str, str, str]]:
    found = processes.straggling(study.scenario, study.verdict.judgement.alpha)
    if isinstance(found, Missing):
        return [tables.cells("straggling", found)]
    return [tables.cells("the median process", found.median), tables.cells("the slowest after it", found.straggling)]


def _trends(study: Study) -> list[tuple[str, ...]]:
    found = trends(study.scenario, study.verdict.judgement.alpha)
    return [
        (quantity, arm, *tables.cells("", result)[1:], result.unit if isinstance(result, Estimate) else "")
        for quantity, arm, result in found
    ]


def _percentiles(study: Study) -> list[dict[str, Any]]:
    """Of single processes at a readable choice of levels: one row an arm and n."""
    table = processes.percentiles(study.scenario)
    if table.empty:
        return []
    shown = tables.readable(sorted(table.index.get_level_values("n").unique()), 8)
    rows = _records(table[table.index.get_level_values("n").isin(shown)])
    return [{**row, "arm": study.scenario.arms[row["arm"]]} for row in rows]


def _environments(study: Study) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for campaign in study.scenario.campaigns:
        content = campaign.environment.model_dump(mode="json", exclude={"warnings", "schema_version"})
        yield campaign.manifest.campaign, list(flatten(content))


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested dictionaries as dotted names and texts; lists stay on one line."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, ", ".join(item if isinstance(item, str) else json.dumps(item) for item in value)
    else:
        yield path, "not known" if value is None else str(value)


def _pretty(plan: dict[str, Any]) -> str:
    return json.dumps(plan, indent=2, ensure_ascii=False)
