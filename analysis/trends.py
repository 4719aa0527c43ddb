"""How CPU per megabyte, memory and phase times change with n, and CPU with the blocks.  Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import cpu
from analysis.estimates import Missing, Result, or_missing, require, t_estimate
from analysis.frames import BYTES_PER_MEGABYTE, NS_PER_MS, Scenario
from analysis.models import CLUSTERED, OLS, fit_by_block, require_slopes
from analysis.phases import KEY, PHASES, used_samples

MS_PER_S = 1000
STACK_PARTIES = ("clients", "daemon", "boundary")
CPU_UNIT = "CPU ms per MB, per process"
MEMORY_UNIT = "MB per process"
PHASE_UNIT = "ms per process"
TRIAL = ["campaign_index", *KEY]


def per_trial(scenario: Scenario) -> pd.Series:
    """CPU seconds of the stack per megabyte, of each used trial; NaN where they were not measured."""
    return cpu.stack_seconds(scenario.rows) / scenario.rows["megabytes"]


def by_block(scenario: Scenario) -> pd.DataFrame:
    """CPU seconds per MB of both arms in each block, and their ratio."""
    rows = scenario.rows
    return _two_arms(scenario, rows["block_id"])


def by_level(scenario: Scenario) -> pd.DataFrame:
    """The same for each n."""
    return _two_arms(scenario, scenario.rows["n"])


def _two_arms(scenario: Scenario, of: pd.Series) -> pd.DataFrame:
    """All seconds over all megabytes."""
    rows = scenario.rows
    sums = pd.DataFrame({"s": cpu.stack_seconds(rows), "mb": rows["megabytes"], "of": of, "arm": rows["arm"]})
    totals = sums.groupby(["of", "arm"])[["s", "mb"]].sum(min_count=1)
    table = (totals["s"] / totals["mb"]).unstack("arm").reindex(columns=[0, 1])
    table.columns = pd.Index(scenario.arms)
    table.index.name = of.name
    return table.assign(ratio=table.iloc[:, 1] / table.iloc[:, 0])


def memory(scenario: Scenario) -> pd.Series:
    """MB in memory at the peak, of each used trial: the clients and what does TLS for them; NaN where not measured.

    Sums of the processes' own peaks (``ru_maxrss``), in which shared pages count for each: an upper bound.
    """
    rows = scenario.rows
    peaks = pd.DataFrame({party: rows[f"cpu_{party}_peak_rss_bytes"].astype("Float64") for party in STACK_PARTIES})
    total = peaks.astype(float).sum(axis=1, min_count=1)
    return (total / BYTES_PER_MEGABYTE).where(peaks["clients"].notna().to_numpy())


def trends(scenario: Scenario, alpha: float) -> list[tuple[str, str, Result]]:
    """What grows by how much a process: (quantity, arm, slope on n), each clustered by block."""
    quantities = [("CPU", per_trial(scenario) * MS_PER_S, CPU_UNIT), ("memory", memory(scenario), MEMORY_UNIT)]
    quantities += [(f"{phase}, median", ends, PHASE_UNIT) for phase, ends in _phase_ends(scenario).items()]
    return [
        (quantity, name, or_missing("trend", _trend, scenario, values, arm, unit, alpha))
        for quantity, values, unit in quantities
        for arm, name in enumerate(scenario.arms)
    ]


def _phase_ends(scenario: Scenario) -> dict[str, pd.Series]:
    """Of each phase the median process's end in each used trial, in ms; NaN where the arm has no such phase."""
    samples = used_samples(scenario)
    index = pd.MultiIndex.from_frame(scenario.rows[TRIAL])
    found = {}
    for phase, column in PHASES.items():
        ends = samples[column].astype("Float64").astype(float) / NS_PER_MS
        medians = ends.groupby([samples[key] for key in TRIAL]).median().reindex(index)
        found[phase] = pd.Series(medians.to_numpy(), index=scenario.rows.index)
    return found


def cpu_trend(scenario: Scenario, alpha: float) -> pd.DataFrame:
    """The slope of CPU milliseconds per MB on n, one row an arm, clustered by block."""
    found = [result for quantity, _, result in trends(scenario, alpha) if quantity == "CPU"]
    rows = [
        {"value": None, "ci_low": None, "ci_high": None, "p": None, "how": one.reason}
        if isinstance(one, Missing)
        else {"value": one.value, "ci_low": one.ci_low, "ci_high": one.ci_high, "p": one.p, "how": one.method}
        for one in found
    ]
    return pd.DataFrame(rows, index=pd.Index(scenario.arms, name=CPU_UNIT))


def _trend(scenario: Scenario, values: pd.Series, arm: int, unit: str, alpha: float) -> Result:
    mine = scenario.rows["arm"] == arm
    rows, found = scenario.rows[mine], values[mine]
    require_slopes(rows)
    require(found.notna().all(), "it was not measured in every used trial")
    design = np.column_stack([np.ones(len(rows)), rows["n"]])
    result = fit_by_block(OLS(found.to_numpy(), design), rows["block_id"])
    return t_estimate(
        "trend",
        float(result.params[1]),
        float(result.bse[1]),
        unit=unit,
        df=rows["block_id"].nunique() - 1,
        alpha=alpha,
        method=f"of each trial on n, {CLUSTERED}",
    )
