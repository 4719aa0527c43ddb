"""What a number is here: frozen pydantic models that go into ``verdict.json`` unrounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats as _stats

from analysis.errors import NotEnoughDataError

P = ParamSpec("P")
T = TypeVar("T")
stats: Any = _stats


class Frozen(BaseModel):
    """Immutable and strict, so that a file from another version is noticed; NaN is written as a string."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Estimate(Frozen):
    """A number with what is known about its uncertainty."""

    kind: Literal["estimate"] = "estimate"
    name: str
    unit: str
    value: float
    standard_error: float | None = Field(description="in the unit; None where the method has none")
    ci_low: float
    ci_high: float
    level: float = Field(description="coverage of the interval, two-sided")
    p: float = Field(description="two-sided, against 'no difference' (for a single quantity: against zero)")
    df: float = Field(description="degrees of freedom of t")
    method: str


class Missing(Frozen):
    """Stands where an estimate would, and says why there is none."""

    kind: Literal["missing"] = "missing"
    name: str
    reason: str


Result = Estimate | Missing


def t_estimate(
    name: str, value: float, standard_error: float, *, unit: str, df: float, alpha: float, method: str
) -> Estimate:
    """Two-sided t interval and p value (against zero) of an estimate with ``df`` degrees of freedom.

    A standard error of zero (every block gave the same number) makes p 0 or, for a value of zero, 1.
    """
    half = t_quantile(1 - alpha / 2, df) * standard_error
    return Estimate(
        name=name,
        unit=unit,
        value=value,
        standard_error=standard_error,
        ci_low=value - half,
        ci_high=value + half,
        level=1 - alpha,
        p=two_sided_p(value, standard_error, df),
        df=df,
        method=method,
    )


def t_quantile(probability: float, df: float) -> float:
    """Quantile of Student's t."""
    return float(stats.t.ppf(probability, df))


def two_sided_p(value: float, standard_error: float, df: float) -> float:
    """P value of t = value / standard_error."""
    if standard_error == 0:
        return 1.0 if value == 0 else 0.0
    return float(2 * stats.t.sf(abs(value) / standard_error, df))


def upper_p(value: float, standard_error: float, df: float) -> float:
    """One-sided p value against 'not above zero'."""
    if standard_error == 0:
        return 0.0 if value > 0 else 1.0
    return float(stats.t.sf(value / standard_error, df))


def or_missing(name: str, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Missing:
    """What ``compute`` returns, or the reason why the data do not suffice."""
    try:
        return compute(*args, **kwargs)
    except NotEnoughDataError as error:
        return Missing(name=name, reason=str(error))


def require(condition: bool | np.bool_, reason: str) -> None:
    """Raise :class:`NotEnoughDataError` unless ``condition`` holds."""
    if not condition:
        raise NotEnoughDataError(reason)
