"""Is the model right?  What each figure should look like stands in ``catalogue``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats as _stats

from analysis.checks import slopes_by_block
from analysis.errors import NotEnoughDataError
from analysis.estimates import Missing, t_quantile
from analysis.figures.style import (
    ARM_COLOURS,
    ARM_MARKERS,
    BLACK,
    BLUE,
    GREY,
    PURPLE,
    canvas,
    common_legend,
    count_axis,
    mark,
    points,
    styled,
    wrapped,
    zero_line,
)
from analysis.models import Fit, SlopeFit
from analysis.sentences import ci
from analysis.study import Study

stats: Any = _stats


def _fit(study: Study) -> Fit:
    if isinstance(study.fit, Missing):
        raise NotEnoughDataError(study.fit.reason)
    return study.fit


def pair_differences(study: Study) -> Figure:
    """Other minus baseline of each pair against n, their means, and the fitted line with its confidence band."""
    pairs = study.scenario.pairs
    if pairs.empty:
        raise NotEnoughDataError("there is no complete pair")
    baseline, other = study.scenario.arms
    with styled():
        figure = canvas(6.4, 3.4)
        axes = figure.subplots()
        axes.scatter(pairs["n"], pairs["diff"], color=GREY, label="one pair", **points(len(pairs)))
        zero_line(axes)
        if not isinstance(study.fit, Missing):
            _difference_line(axes, study.fit, pairs["n"], 1 - study.verdict.judgement.alpha)
        count_axis(axes)
        axes.set_ylabel(wrapped(f"{other} minus {baseline} (ms)"))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
        mark(figure, study.scenario)
    return figure


def _difference_line(axes: Axes, fit: Fit, n: pd.Series, level: float) -> None:
    grid = np.linspace(n.min(), n.max(), 50)
    design = np.column_stack([np.zeros_like(grid), np.ones_like(grid), np.zeros_like(grid), grid])
    line = design @ fit.params
    half = t_quantile((1 + level) / 2, fit.df) * np.sqrt(np.einsum("ij,jk,ik->i", design, fit.covariance, design))
    axes.plot(grid, line, color=BLUE, label="primary fit")
    axes.fill_between(grid, line - half, line + half, color=BLUE, alpha=0.25, linewidth=0, label=ci(level))


def block_slopes(study: Study) -> Figure:
    """Each block's slopes of both arms, joined; to the right their difference, with the primary interval."""
    table = slopes_by_block(study.scenario.pairs).dropna()
    if table.empty:
        raise NotEnoughDataError("no block has two levels of n")
    with styled():
        figure = canvas(6.4, 3.2)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        _slopes_of_arms(left, table, study.scenario.arms)
        _slope_differences(right, table, study.verdict.slopes)
        common_legend(figure, [left])
        mark(figure, study.scenario)
    return figure


def _slopes_of_arms(axes: Axes, table: pd.DataFrame, arms: tuple[str, str]) -> None:
    blocks = np.arange(len(table))
    axes.vlines(blocks, table["slope_0"], table["slope_1"], color=GREY, linewidth=0.8)
    for arm in (0, 1):
        axes.plot(
            blocks,
            table[f"slope_{arm}"],
            linestyle="none",
            marker=ARM_MARKERS[arm],
            color=ARM_COLOURS[arm],
            label=arms[arm],
        )
    axes.set_xticks(blocks[:: max(1, len(blocks) // 10)])
    axes.set_xlabel("Block")
    axes.set_ylabel("Slope (ms per process)")


def _slope_differences(axes: Axes, table: pd.DataFrame, slopes: SlopeFit | Missing) -> None:
    axes.plot(np.arange(len(table)), table["difference"], linestyle="none", marker="o", color=BLACK)
    zero_line(axes)
    if isinstance(slopes, SlopeFit):
        axes.axhspan(slopes.difference.ci_low, slopes.difference.ci_high, color=PURPLE, alpha=0.35, linewidth=0)
        axes.axhline(slopes.difference.value, color=PURPLE)
        axes.set_title(f"Difference, {ci(slopes.difference.level)}", fontsize=9)
    axes.set_xticks(np.arange(len(table))[:: max(1, len(table) // 5)])
    axes.set_xlabel("Block")
    axes.set_ylabel("ms per process")


def residuals(study: Study) -> Figure:
    """Residuals of the primary fit against the fitted values, and against the order of execution."""
    fit = _fit(study)
    with styled():
        figure = canvas(6.4, 3.2)
        left, right = figure.subplots(1, 2, sharey=True)
        _residual_panel(left, study, fit, pd.Series(fit.fitted), "Fitted (ms)")
        order = pd.Series(np.arange(len(fit.residuals)))
        _residual_panel(right, study, fit, order, "Order of execution (trial)")
        left.set_ylabel("Residual (ms)")
        common_legend(figure, [left])
        mark(figure, study.scenario)
    return figure


def _residual_panel(axes: Axes, study: Study, fit: Fit, x: pd.Series, label: str) -> None:
    arms = study.scenario.rows["arm"].to_numpy()
    for arm in (0, 1):
        mine = arms == arm
        name = study.scenario.arms[arm]
        axes.scatter(
            x[mine],
            fit.residuals[mine],
            color=ARM_COLOURS[arm],
            marker=ARM_MARKERS[arm],
            label=name,
            **points(len(arms)),
        )
    unusual = (study.unusual != "").to_numpy()
    if unusual.any():
        look: dict[str, Any] = {"s": 40, "facecolors": "none", "edgecolors": BLACK, "label": "unusual"}
        axes.scatter(x[unusual], fit.residuals[unusual], **look)
    zero_line(axes)
    axes.set_xlabel(label)


def normal_quantiles(study: Study) -> Figure:
    """Q-Q plot of the standardised residuals, one line an arm."""
    fit = _fit(study)
    arms = study.scenario.rows["arm"].to_numpy()
    with styled():
        figure = canvas(4.2, 3.8)
        axes = figure.subplots()
        for arm in (0, 1):
            sample = np.sort(fit.residuals[arms == arm]) / fit.residual_sd_ms
            expected = stats.norm.ppf((np.arange(len(sample)) + 0.5) / len(sample))
            look: dict[str, Any] = {
                "color": ARM_COLOURS[arm],
                "marker": ARM_MARKERS[arm],
                "label": study.scenario.arms[arm],
            }
            axes.scatter(expected, sample, **look, **points(len(arms)))
        axes.axline((0, 0), slope=1, color=BLACK, linewidth=0.8)
        axes.set_xlabel("Normal quantile")
        axes.set_ylabel("Standardised residual")
        axes.legend(loc="upper left")
        mark(figure, study.scenario)
    return figure
