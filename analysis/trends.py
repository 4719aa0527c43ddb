"""How the CPU cost of a megabyte changes with the blocks and with n.  Pure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import cpu
from analysis.estimates import Missing, Result, or_missing, require, t_estimate
from analysis.frames import Scenario
from analysis.models import CLUSTERED, OLS, fit_by_block, require_slopes

MS_PER_S = 1000
UNIT = "CPU ms per MB, per process"


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


def cpu_trend(scenario: Scenario, alpha: float) -> pd.DataFrame:
    """The slope of CPU milliseconds per MB on n, one row an arm, clustered by block."""
    found = [or_missing("trend", _trend, scenario, arm, alpha) for arm in (0, 1)]
    rows = [
        {"value": None, "ci_low": None, "ci_high": None, "p": None, "how": one.reason}
        if isinstance(one, Missing)
        else {"value": one.value, "ci_low": one.ci_low, "ci_high": one.ci_high, "p": one.p, "how": one.method}
        for one in found
    ]
    return pd.DataFrame(rows, index=pd.Index(scenario.arms, name=UNIT))


def _trend(scenario: Scenario, arm: int, alpha: float) -> Result:
    mine = scenario.rows["arm"] == arm
    rows, costs = scenario.rows[mine], per_trial(scenario)[mine] * MS_PER_S
    require_slopes(rows)
    require(costs.notna().all(), "CPU time was not measured in every used trial")
    design = np.column_stack([np.ones(len(rows)), rows["n"]])
    result = fit_by_block(OLS(costs.to_numpy(), design), rows["block_id"])
    return t_estimate(
        "trend",
        float(result.params[1]),
        float(result.bse[1]),
        unit=UNIT,
        df=rows["block_id"].nunique() - 1,
        alpha=alpha,
        method=f"CPU per MB of each trial on n, {CLUSTERED}",
    )
