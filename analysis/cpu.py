"""CPU seconds per megabyte, the co-primary result: what a stack costs where the wire decides the time.  Pure.

A stack's cost is its clients', the daemon's and the boundary's CPU time; the server's is the same for both
and is shown apart.  One ratio a block (all its seconds over all its megabytes, other over baseline); the
interval is Student's t on the logarithms of the ratios, B - 1 degrees of freedom.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from analysis.estimates import Estimate, Frozen, Missing, or_missing, require, t_estimate
from analysis.frames import PARTIES
from harness.records import Stack

UNIT = "CPU s per MB"
STACK_PARTIES = PARTIES[:-1]


class Cost(Frozen):
    """Of one arm, over all used trials; a party that does not exist or was not measured is None."""

    arm: str
    clients: float | None
    daemon: float | None
    boundary: float | None
    server: float | None
    stack: Estimate | Missing = Field(description="clients + daemon + boundary, mean of the blocks")


class CpuComparison(Frozen):
    """Both arms, and the ratio other / baseline."""

    baseline: Cost
    other: Cost
    ratio: Estimate | Missing


def compare(rows: pd.DataFrame, alpha: float) -> CpuComparison:
    """From the used trials."""
    costs = [cost(rows[rows["arm"] == arm], str(name), alpha) for arm, name in enumerate(rows["impl"].cat.categories)]
    return CpuComparison(baseline=costs[0], other=costs[1], ratio=or_missing("CPU ratio", ratio, rows, alpha))


def stack_seconds(rows: pd.DataFrame) -> pd.Series:
    """CPU seconds of the stack in each trial; NaN where a party that must be there was not measured.

    Stacks in the process have neither daemon nor boundary, proxies stand where the daemon does; under the preload
    boundary there is no supervisor.
    """
    is_ssa = rows["stack"].isin([stack.value for stack in Stack if stack.is_ssa])
    is_proxy = rows["stack"].isin([stack.value for stack in Stack if stack.is_proxy])
    daemon = rows["daemon_s"].where(is_ssa | is_proxy, 0.0)
    boundary = rows["boundary_s"].where(is_ssa & (rows["boundary"] != "preload").fillna(True), 0.0)
    return rows["clients_s"] + daemon + boundary


def cost(rows: pd.DataFrame, arm: str, alpha: float) -> Cost:
    """Of one arm's used trials."""
    return Cost(
        arm=arm,
        stack=or_missing("CPU per MB", _stack_cost, rows, alpha),
        **{party: _per_megabyte(rows, party) for party in PARTIES},
    )


def _per_megabyte(rows: pd.DataFrame, party: str) -> float | None:
    measured = rows[rows[f"{party}_s"].notna()]
    if measured.empty:
        return None
    return float(measured[f"{party}_s"].sum() / measured["megabytes"].sum())


def by_block(rows: pd.DataFrame) -> pd.Series:
    """CPU seconds per MB of one arm in each block.

    Raises:
        NotEnoughDataError: CPU time was not measured in every used trial.
    """
    seconds = stack_seconds(rows)
    unmeasured = int(seconds.isna().sum())
    require(unmeasured == 0, f"CPU time was not measured in {unmeasured} of {len(rows)} used trials")
    return seconds.groupby(rows["block_id"]).sum() / rows["megabytes"].groupby(rows["block_id"]).sum()


def _stack_cost(rows: pd.DataFrame, alpha: float) -> Estimate:
    blocks = by_block(rows)
    require(len(blocks) >= 2, f"an interval needs two blocks with complete pairs; blocks here: {len(blocks)}")
    error = float(blocks.std(ddof=1) / np.sqrt(len(blocks)))
    method = "mean of the blocks, t"
    return t_estimate(
        "CPU per MB", float(blocks.mean()), error, unit=UNIT, df=len(blocks) - 1, alpha=alpha, method=method
    )


def ratio(rows: pd.DataFrame, alpha: float) -> Estimate:
    """Other over baseline, geometric mean of the blocks' ratios.

    Raises:
        NotEnoughDataError: fewer than two blocks, or CPU time was not measured in every used trial.
    """
    base, other = (by_block(rows[rows["arm"] == arm]) for arm in (0, 1))
    require((base > 0).all() and (other > 0).all(), "a block has no CPU time at all")
    ratios = (other / base).dropna()  # arms of two boundaries need not have the same blocks
    require(len(ratios) >= 2, f"an interval needs two blocks with complete pairs; blocks here: {len(ratios)}")
    logs = pd.Series(np.log(ratios.to_numpy()), index=ratios.index)
    df = len(logs) - 1
    error = float(logs.std(ddof=1) / np.sqrt(len(logs)))
    on_logs = t_estimate("", float(logs.mean()), error, unit="", df=df, alpha=alpha, method="")
    return Estimate(
        name="CPU ratio",
        unit="other / baseline",
        standard_error=None,
        value=float(np.exp(on_logs.value)),
        ci_low=float(np.exp(on_logs.ci_low)),
        ci_high=float(np.exp(on_logs.ci_high)),
        level=on_logs.level,
        p=on_logs.p,
        df=df,
        method="geometric mean of the blocks' ratios, t on their logarithms",
    )
