from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.equivalence import within_ms, within_percent
from analysis.models import Fit

NONE = np.zeros(1)


def fit(difference: float, error: float, *, slope: float = 8.0, df: float = 9) -> Fit:
    """A fit whose slope is known exactly."""
    covariance = np.zeros((4, 4))
    covariance[3, 3] = error**2
    return Fit(np.array([0, 0, slope, difference]), covariance, df, NONE, NONE)


DIFFERENCE, ERROR, MARGIN = st.floats(-2, 2), st.floats(0.01, 1), st.floats(0.05, 1)


@settings(deadline=None)
@given(DIFFERENCE, ERROR, MARGIN)
def test_inside_is_the_interval_of_90_percent_inside(difference: float, error: float, margin: float) -> None:
    found = within_ms(fit(difference, error), margin, 0.05)
    is_inside = -margin < found.ci_low and found.ci_high < margin
    assert (found.p < 0.05) == is_inside


@settings(deadline=None)
@given(DIFFERENCE, ERROR, MARGIN)
def test_beyond_is_the_interval_wholly_outside(difference: float, error: float, margin: float) -> None:
    found = within_ms(fit(difference, error), margin, 0.05)
    is_outside = found.ci_high < -margin or found.ci_low > margin
    assert (found.p_beyond < 0.05) == is_outside
    assert not (found.p < 0.05 and found.p_beyond < 0.05)


@settings(deadline=None)
@given(DIFFERENCE, ERROR)
def test_percent_of_a_known_slope_is_the_same_as_ms(difference: float, error: float) -> None:
    ms, percent = within_ms(fit(difference, error), 0.4, 0.05), within_percent(fit(difference, error), 5.0, 0.05)
    assert percent.p == pytest.approx(ms.p, abs=1e-9)
    assert percent.p_beyond == pytest.approx(ms.p_beyond, abs=1e-9)
    assert percent.ci_high == pytest.approx(100 * ms.ci_high / 8, abs=1e-9)


def test_the_papers_remote_result_lies_inside_its_own_upper_end() -> None:
    found = within_ms(fit(-0.25, 0.064, df=1996), 0.4, 0.05)
    assert found.p < 0.05
    assert found.p_beyond > 0.95


def test_no_uncertainty_at_all() -> None:
    assert within_ms(fit(0.1, 0.0), 0.4, 0.05).p == 0
    assert within_ms(fit(0.5, 0.0), 0.4, 0.05).p == 1
    assert within_ms(fit(0.5, 0.0), 0.4, 0.05).p_beyond == 0
