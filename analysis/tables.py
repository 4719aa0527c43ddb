"""What the terminal shows, as rich renderables; and the table by n that the report shows whole.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from analysis import sentences
from analysis.estimates import Estimate, Missing, Result
from analysis.frames import Scenario
from analysis.study import Study
from analysis.verdict import Verdict

MAX_LEVELS = 12


def by_level(scenario: Scenario) -> pd.DataFrame:
    """By n: pairs, median milliseconds of both arms (``median_0``, ``median_1``), and their ratio."""
    grouped = scenario.pairs.groupby("n")
    table = pd.DataFrame(
        {
            "pairs": grouped.size(),
            "median_0": grouped["ms_0"].median(),
            "median_1": grouped["ms_1"].median(),
        }
    )
    return table.assign(ratio=table["median_1"] / table["median_0"])


def readable(levels: list[int], at_most: int = MAX_LEVELS) -> list[int]:
    """A subset that one takes in at a glance: the first and the last, and about equal steps between."""
    if len(levels) <= at_most:
        return levels
    picked = {round(k * (len(levels) - 1) / (at_most - 1)) for k in range(at_most)}
    tens = [level for level in levels if level % 10 == 0 or level in (levels[0], levels[-1])]
    return tens if 8 <= len(tens) <= at_most else [levels[k] for k in sorted(picked)]


def elapsed(study: Study) -> RenderableType:
    """Per n the median of both stacks in milliseconds, and the ratio."""
    table = by_level(study.scenario)
    if table.empty:
        return Text("not enough data: there is no complete pair of ok trials")
    shown = readable([int(n) for n in table.index])
    baseline, other = study.scenario.arms
    title = f"Time until all processes have the file, median ({sentences.place(study.verdict)})"
    rendered = Table(title=title, title_justify="left", title_style="bold")
    for name in ("n", "pairs", f"{baseline} ms", f"{other} ms", "ratio"):
        rendered.add_column(name, justify="right")
    for n, row in table.loc[shown].iterrows():
        rendered.add_row(
            str(n), f"{row['pairs']:.0f}", f"{row['median_0']:.1f}", f"{row['median_1']:.1f}", f"{row['ratio']:.3f}"
        )
    if len(shown) < len(table):
        rendered.caption = f"{len(shown)} of {len(table)} levels; all are in the report"
    return rendered


def regression(verdict: Verdict) -> Table:
    """The primary estimate, the checks and the paper's model, one a row."""
    table = Table(title="Slope difference, ms per process", title_justify="left", title_style="bold")
    for name in ("estimate", "value", sentences.ci(1 - verdict.judgement.alpha), "p", "how"):
        table.add_column(name, justify="right" if name in ("value", "p") else "left", overflow="fold")
    for name, result in estimates(verdict):
        table.add_row(*cells(name, result))
    return table


def estimates(verdict: Verdict) -> Iterator[tuple[str, Result]]:
    """The primary estimate first, then the checks, then the paper's model."""
    primary = verdict.slopes
    yield "primary", primary if isinstance(primary, Missing) else primary.difference
    if not isinstance(verdict.checks, Missing):
        for check in verdict.checks.estimates:
            yield check.name, check
    yield "paper's model", verdict.paper_model


def cells(name: str, result: Result) -> tuple[str, str, str, str, str]:
    """Name, value, interval, p, method; or the reason why there is nothing."""
    if isinstance(result, Estimate):
        span = f"{sentences.signed(result.ci_low)} to {sentences.signed(result.ci_high)}"
        return name, sentences.signed(result.value), span, f"{result.p:.2g}", result.method
    return name, "", "", "", f"not enough data: {result.reason}"


def summary(study: Study) -> Iterator[RenderableType]:
    """What a run prints at its end: table, counts, warnings, headline, CPU, verdict."""
    verdict = study.verdict
    if verdict.is_synthetic:
        yield Text("SYNTHETIC: nothing here was measured", style="bold reverse")
    yield elapsed(study)
    yield Text(sentences.counts(verdict), style="dim")
    for said in sentences.stopping(verdict.stopping):
        yield Text(said)
    for campaign in study.scenario.campaigns:
        for warning in campaign.environment.warnings:
            yield Text(f"Warning: {warning.text}", style="yellow")
    for disagreement in sentences.disagreements(verdict):
        yield Text(f"Check disagrees: {disagreement}", style="yellow")
    yield Text(sentences.headline(verdict), style="bold")
    yield Text(sentences.cpu(verdict))
    if beside := sentences.boundaries(verdict):
        yield Text(beside)
    if verdict.libraries:
        yield Text(verdict.libraries, style="yellow")
    yield Text(sentences.judgement(verdict), style="bold")
