"""Is the slope difference smaller than a margin fixed in the plan?  Two one-sided tests; pure.

Both margins are linear in the parameters (a constant, or a share of the baseline's slope), so the tests are
plain t tests in the linear model; only the interval shown in percent is the delta method's.

Source: Schuirmann 1987; Lakens 2017 for the reading beside a test of difference.
"""

from __future__ import annotations

from pydantic import Field

from analysis.estimates import Estimate, Frozen, upper_p
from analysis.models import UNIT_PERCENT, UNIT_SLOPE, Fit, percent_of_slope, slope_estimate


class Equivalence(Frozen):
    """The tests against one margin."""

    margin: float
    unit: str
    ci_low: float = Field(description="of coverage ``level``, in the unit")
    ci_high: float
    level: float = Field(description="1 - 2 alpha: the interval inside the margin and both tests passed are one")
    p_lower: float = Field(description="one-sided, against 'at or below -margin'")
    p_upper: float = Field(description="one-sided, against 'at or above +margin'")
    p_beyond: float = Field(description="one-sided, against 'not beyond the margin, on either side'")

    @property
    def p(self) -> float:
        """Of the claim 'inside the margin'."""
        return max(self.p_lower, self.p_upper)


def within_ms(fit: Fit, margin_ms: float, alpha: float) -> Equivalence:
    """Against a margin in ms per process."""
    shown = slope_estimate(fit, "slope difference", 0, 1, 2 * alpha)
    return _judge(fit, shown, margin=margin_ms, unit=UNIT_SLOPE, constant=margin_ms, share=0.0)


def within_percent(fit: Fit, margin_percent: float, alpha: float) -> Equivalence:
    """Against a margin in percent of the baseline's slope.

    Raises:
        NotEnoughDataError: the baseline's slope is not positive.
    """
    shown = percent_of_slope(fit, 2 * alpha)
    share = margin_percent / 100
    return _judge(fit, shown, margin=margin_percent, unit=UNIT_PERCENT, constant=0.0, share=share)


def _judge(fit: Fit, shown: Estimate, *, margin: float, unit: str, constant: float, share: float) -> Equivalence:
    """The margin is ``constant`` plus ``share`` of the baseline's slope."""
    above_lower, error_lower = fit.contrast(share, 1)
    above_upper, error_upper = fit.contrast(-share, 1)
    above_lower, above_upper = above_lower + constant, above_upper - constant
    beyond_above = upper_p(above_upper, error_upper, fit.df)
    beyond_below = upper_p(-above_lower, error_lower, fit.df)
    return Equivalence(
        margin=margin,
        unit=unit,
        ci_low=shown.ci_low,
        ci_high=shown.ci_high,
        level=shown.level,
        p_lower=upper_p(above_lower, error_lower, fit.df),
        p_upper=upper_p(-above_upper, error_upper, fit.df),
        p_beyond=min(beyond_above, beyond_below),
    )
