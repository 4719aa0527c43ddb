"""Two boundaries of the SSA in one campaign: does it matter which one a program is run at?  Pure.

Such a campaign has two pairs for each n in each block, one with each boundary, and each pair has a baseline
trial of its own beside the SSA's.  The comparison is exploratory: no part of the verdict.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import Field

from analysis import cpu
from analysis.errors import DataError
from analysis.estimates import Estimate, Frozen, Missing, Result, or_missing, t_estimate
from analysis.frames import Scenario
from analysis.models import CLUSTERED, OLS, UNIT_SLOPE, fit_by_block, require_slopes
from harness.records import Boundary


class BoundaryComparison(Frozen):
    """One boundary beside the other, from pairs of the same blocks."""

    boundary: Boundary
    beside: Boundary
    slope: Result = Field(description="by how much the slope differences against the baseline differ")
    cpu: Estimate | Missing = Field(description="ratio of the SSA's CPU seconds per MB")


def compare(scenario: Scenario, beside: Scenario, alpha: float) -> BoundaryComparison:
    """The first less (or over) the second.

    Raises:
        DataError: the scenarios are not of the same campaigns.
    """
    if scenario.names != beside.names:
        raise DataError("boundaries are compared within a campaign only")
    return BoundaryComparison(
        boundary=scenario.boundary,
        beside=beside.boundary,
        slope=or_missing("boundaries", _slope, scenario.pairs, beside.pairs, alpha),
        cpu=or_missing("CPU ratio of the boundaries", cpu.ratio, _as_arms(scenario, beside), alpha),
    )


def _slope(pairs: pd.DataFrame, beside: pd.DataFrame, alpha: float) -> Estimate:
    """``diff ~ n * boundary``: the coefficient ``n:boundary``, clustered by block, which both share."""
    for side in (pairs, beside):
        require_slopes(side)
    both = pd.concat([beside.assign(is_other=0.0), pairs.assign(is_other=1.0)], ignore_index=True)
    design = np.column_stack([np.ones(len(both)), both["n"], both["is_other"], both["n"] * both["is_other"]])
    result = fit_by_block(OLS(both["diff"].to_numpy(), design), both["block_id"])
    return t_estimate(
        "boundaries",
        float(result.params[3]),
        float(result.bse[3]),
        unit=UNIT_SLOPE,
        df=both["block_id"].nunique() - 1,
        alpha=alpha,
        method=f"differences of pairs on n and boundary, {CLUSTERED}",
    )


def _as_arms(scenario: Scenario, beside: Scenario) -> pd.DataFrame:
    """The SSA's trials only, those at the other boundary as the baseline."""
    sides = [side.rows[side.rows["boundary"].notna()].assign(arm=arm) for arm, side in enumerate((beside, scenario))]
    return pd.concat(sides, ignore_index=True)
