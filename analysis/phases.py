"""How long each step of a client takes: from samples to quantiles by arm, n and phase.  Pure.

Offsets count from the trial's intended release.  The SSA's connect is one call, so it has no separate 'tcp'.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.frames import NS_PER_MS, Scenario

PHASES = {
    "tcp": "tcp_offset_ns",
    "tls": "tls_offset_ns",
    "first byte": "first_byte_offset_ns",
    "last byte": "last_byte_offset_ns",
}
KEY = ["trial_id", "attempt"]


def used_samples(scenario: Scenario) -> pd.DataFrame:
    """The samples of the used trials, and whose they are: campaign_index, impl, arm, n; empty when none were loaded."""
    parts = []
    for index, campaign in enumerate(scenario.campaigns):
        if campaign.samples is None:
            continue
        mine = scenario.rows[scenario.rows["campaign_index"] == index][["campaign_index", *KEY, "arm", "impl", "n"]]
        parts.append(campaign.samples.merge(mine, on=KEY))
    if not parts:
        return pd.DataFrame(columns=["campaign_index", *KEY, "arm", "impl", "n", *PHASES.values()])
    return pd.concat(parts, ignore_index=True)


def phase_times(samples: pd.DataFrame) -> pd.DataFrame:
    """Quartiles in milliseconds after the release: rows by (phase, arm, n), columns q25, median, q75.

    Phases that no client of an arm reported are absent.
    """
    tables = []
    for phase, column in PHASES.items():
        offsets = samples[column].astype("Float64").astype(float) / NS_PER_MS
        grouped = offsets.dropna().groupby([samples["arm"], samples["n"]])
        table = grouped.quantile(np.array([0.25, 0.5, 0.75])).unstack()
        if not table.empty:
            table.columns = pd.Index(["q25", "median", "q75"])
            tables.append(pd.concat({phase: table}, names=["phase"]))
    if not tables:
        return pd.DataFrame(columns=["q25", "median", "q75"])
    return pd.concat(tables)
