"""Single processes: when each had its file, and what the slowest one adds.  Pure.

A trial lasts as long as its slowest process, so its time is that of the *median* process plus what the slowest
one came later, the *straggling*.  Both are fitted as the trial's time is, ``... ~ n * impl``, clustered by block;
least squares is linear, so their two slope differences add up to the headline.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from analysis.estimates import Estimate, Frozen, Missing, or_missing, require
from analysis.frames import NS_PER_MS, Scenario
from analysis.models import fit_clustered, slope_estimate
from analysis.phases import KEY, used_samples

PERCENTILES = (5, 50, 90, 99)
TRIAL = ["campaign_index", *KEY]


class Straggling(Frozen):
    """The headline in two parts, ms per process."""

    median: Estimate = Field(description="slope difference of the median process's time")
    straggling: Estimate = Field(description="slope difference of what the slowest came later than the median")


def ends(scenario: Scenario) -> pd.DataFrame:
    """One row a process of a used trial: its trial's key, arm, impl, n, and ``end_ms`` after the release."""
    samples = used_samples(scenario)
    end_ms = samples["last_byte_offset_ns"].astype("Float64").astype(float) / NS_PER_MS
    return samples[[*TRIAL, "arm", "impl", "n"]].assign(end_ms=end_ms)


def percentiles(scenario: Scenario) -> pd.DataFrame:
    """Of single processes, all trials of an arm and n together: rows (arm, n), columns p5 ... p99 and slowest."""
    table = ends(scenario).groupby(["arm", "n"])["end_ms"]
    shares = np.array(PERCENTILES) / 100
    found = table.quantile(shares).unstack() if len(table) else pd.DataFrame(columns=shares)
    found.columns = pd.Index([f"p{percentile}" for percentile in PERCENTILES])
    return found.assign(slowest=table.max())


def parts(scenario: Scenario) -> pd.DataFrame:
    """The used trials with ``median_ms`` and ``straggling_ms``, which add up to ``ms``.

    Raises:
        NotEnoughDataError: there are no samples.
    """
    processes = ends(scenario)
    require(not processes.empty, "no used trial has samples")
    median = processes.groupby(TRIAL)["end_ms"].median().rename("median_ms").reset_index()
    rows = scenario.rows.merge(median, on=TRIAL, how="left", validate="one_to_one")
    return rows.assign(straggling_ms=rows["ms"] - rows["median_ms"])


def straggling(scenario: Scenario, alpha: float) -> Straggling | Missing:
    """Both parts of the slope difference, or why there are none."""
    return or_missing("straggling", _straggling, scenario, alpha)


def _straggling(scenario: Scenario, alpha: float) -> Straggling:
    rows = parts(scenario)

    def fitted(name: str) -> Estimate:
        fit = fit_clustered(rows.assign(ms=rows[f"{name}_ms"]))
        return slope_estimate(fit, name, 0, 1, alpha)

    return Straggling(median=fitted("median"), straggling=fitted("straggling"))
