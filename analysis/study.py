"""One scenario from frames to verdict.  Pure."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import pandas as pd

import analysis
from analysis import boundaries, checks, columns, cpu, equivalence, libraries, models, paper, power
from analysis.estimates import Missing, Result, or_missing
from analysis.frames import Scenario, left_out
from analysis.models import Fit, SlopeFit
from analysis.stopping import stopped
from analysis.verdict import Counts, Margins, Verdict, Word, confirm, word
from harness.records import Judgement, Trial

LIBRARIES = ("numpy", "pandas", "scipy", "statsmodels")


@dataclass(frozen=True)
class Study:
    """A scenario, its primary fit (or why there is none), the trials that are unusual, and the verdict."""

    scenario: Scenario
    fit: Fit | Missing
    unusual: pd.Series
    verdict: Verdict


def studies(scenarios: Sequence[Scenario]) -> list[Study]:
    """Study each; a campaign's second boundary is also compared with its first, on the same link and profile."""
    found = []
    for scenario in scenarios:
        here = (scenario.names, scenario.link, scenario.profile)
        first = next(other for other in scenarios if (other.names, other.link, other.profile) == here)
        found.append(study(scenario, beside=None if first is scenario else first))
    return found


def study(scenario: Scenario, beside: Scenario | None = None) -> Study:
    """Fit, check, judge; compare with the same campaigns at another boundary."""
    judgement = scenario.manifest.judgement
    fit = or_missing("primary fit", models.fit_clustered, scenario.rows)
    unusual = _unusual(scenario, fit)
    verdict = _verdict(scenario, fit, unusual, judgement)
    if beside is not None:
        verdict = verdict.model_copy(update={"boundaries": boundaries.compare(scenario, beside, judgement.alpha)})
    return Study(scenario, fit, unusual, verdict)


def _unusual(scenario: Scenario, fit: Fit | Missing) -> pd.Series:
    if isinstance(fit, Missing):
        return pd.Series("", index=scenario.rows.index, dtype=object)
    return checks.outliers(scenario.rows, fit.residuals)


def _verdict(scenario: Scenario, fit: Fit | Missing, unusual: pd.Series, judgement: Judgement) -> Verdict:
    alpha, manifest, rows = judgement.alpha, scenario.manifest, scenario.rows
    margins = _margins(fit, judgement)
    comparison = cpu.compare(rows, alpha)
    design = power.assess(scenario.pairs, fit, scenario.complete_blocks, judgement)
    slopes = _slopes(fit, rows, alpha)
    difference: Result = slopes if isinstance(slopes, Missing) else slopes.difference
    is_told_only = scenario.has_floor or scenario.is_2018
    tests = () if is_told_only else confirm(difference, margins, comparison.ratio)
    judged = None if design.underpowered or is_told_only else word(tests, margins, alpha)
    return Verdict(
        campaigns=scenario.names,
        is_synthetic=scenario.is_synthetic,
        is_aa=scenario.is_aa,
        link=scenario.link,
        profile=scenario.profile,
        server=manifest.server,
        boundary=scenario.boundary,
        baseline=scenario.arms[0],
        other=scenario.arms[1],
        size_bytes=manifest.size_bytes,
        judgement=judgement,
        injected_ms_per_process=scenario.injected_ms,
        libraries=libraries.mismatch(scenario.campaigns[0], scenario.arms),
        has_floor=scenario.has_floor,
        word=None if scenario.is_aa or scenario.injected_ms else judged,
        aa_passed=_aa_passed(difference, judged, alpha, scenario.injected_ms) if scenario.is_aa else None,
        slopes=slopes,
        difference_percent=_percent(fit, alpha),
        equivalence=margins,
        confirmatory=tests,
        cpu=comparison,
        design=design,
        checks=_checks(scenario, fit, unusual, alpha),
        paper_model=or_missing("paper's model", paper.plain_fit, rows, alpha),
        published=(paper.PUBLISHED_LOCAL, paper.PUBLISHED_REMOTE),
        counts=_counts(scenario),
        stopping=stopped(scenario.campaigns),
        plan_sha256=tuple(campaign.manifest.plan_sha256 for campaign in scenario.campaigns),
        data_sha256=data_sha256(campaign.trials for campaign in scenario.campaigns),
        versions=versions(),
    )


def _slopes(fit: Fit | Missing, rows: pd.DataFrame, alpha: float) -> SlopeFit | Missing:
    return fit if isinstance(fit, Missing) else models.summarise(fit, rows, alpha)


def _percent(fit: Fit | Missing, alpha: float) -> Result:
    if isinstance(fit, Missing):
        return fit
    return or_missing("slope difference in percent", models.percent_of_slope, fit, alpha)


def _margins(fit: Fit | Missing, judgement: Judgement) -> Margins:
    if isinstance(fit, Missing):
        return Margins(ms=fit, percent=fit)
    ms, percent = judgement.margin_ms_per_process, judgement.margin_percent_of_slope
    return Margins(
        ms=equivalence.within_ms(fit, ms, judgement.alpha),
        percent=or_missing("percent margin", equivalence.within_percent, fit, percent, judgement.alpha),
    )


def _checks(scenario: Scenario, fit: Fit | Missing, unusual: pd.Series, alpha: float) -> checks.Checks | Missing:
    if isinstance(fit, Missing):
        return fit
    seed = scenario.manifest.seed
    return checks.run(scenario.rows, scenario.pairs, fit, unusual, alpha=alpha, seed=seed)


def _aa_passed(difference: Result, judged: Word | None, alpha: float, injected_ms: float) -> bool | None:
    """At alpha, before any adjustment: an A/A arm tests one thing only."""
    if judged is None or isinstance(difference, Missing):
        return None
    if injected_ms:
        return difference.ci_low <= injected_ms <= difference.ci_high
    return difference.p >= alpha


def _counts(scenario: Scenario) -> Counts:
    totals = left_out(scenario.trials).sum(axis=1)
    return Counts(
        trials=len(scenario.trials),
        used=len(scenario.rows),
        by_fate={str(fate): int(count) for fate, count in totals.items()},
    )


def data_sha256(tables: Iterable[pd.DataFrame]) -> str:
    """Digest of the trials, the same whether they were read from JSONL or Parquet.

    The rows of each campaign in the order of their sequence, as JSON lists of the record's columns.
    """
    digest = hashlib.sha256()
    for table in tables:
        ordered = table.sort_values("sequence")[list(columns.dtypes(Trial))].astype(object)
        rows = ordered.where(ordered.notna(), None).to_numpy().tolist()
        digest.update(json.dumps(rows, separators=(",", ":")).encode())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """What computed the verdict."""
    libraries = {name: version(name) for name in LIBRARIES}
    return {"analysis": analysis.__version__, "python": platform.python_version(), **libraries}
