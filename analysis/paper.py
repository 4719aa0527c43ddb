"""What the paper published, and its own kind of fit on our data, side by side.  Pure.

The paper (O'Neill et al., USENIX Security 2018, section 6.2) gives p = 0.08 for local and p = 0.0001 for
remote servers, and an advantage of the SSA of 0.1 to 0.4 ms per process.  Its raw data are not public.  The
coefficient and interval below are reconstructed from these figures (EXPERIMENT.md section 2): one
``n:impl`` of -0.25 ms per process with standard error 0.064 fits them all.  The paper names no covariance;
plain least squares is what is taken here.
"""

from __future__ import annotations

import pandas as pd

from analysis.estimates import Estimate, Frozen
from analysis.models import UNIT_SLOPE, fit_unclustered, slope_estimate


class Published(Frozen):
    """One of the paper's two comparisons; the slope difference where it can be reconstructed."""

    where: str
    p: float
    difference_ms_per_process: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    unit: str = UNIT_SLOPE


PUBLISHED_LOCAL = Published(where="local", p=0.08)
PUBLISHED_REMOTE = Published(where="remote", p=0.0001, difference_ms_per_process=-0.25, ci_low=-0.376, ci_high=-0.124)


def plain_fit(rows: pd.DataFrame, alpha: float) -> Estimate:
    """The model as the paper describes it: least squares over trials, all of them taken to be independent."""
    fit = fit_unclustered(rows, "nonrobust")
    return slope_estimate(fit, "paper's model", 0, 1, alpha, method="plain OLS, trials independent")
