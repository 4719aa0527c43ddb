"""What grows with n: CPU per megabyte, memory, single processes and their stragglers, goodput."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.errors import NotEnoughDataError
from analysis.figures.style import (
    ARM_COLOURS,
    ARM_DASHES,
    ARM_MARKERS,
    FEW_LEVELS,
    canvas,
    common_legend,
    count_axis,
    mark,
    styled,
)
from analysis.processes import parts, percentiles
from analysis.study import Study
from analysis.trends import memory, per_trial

MS_PER_S = 1000
BITS_PER_BYTE = 8
PERCENTILE_TITLES = {"p50": "Median process", "p99": "99th percentile", "slowest": "Slowest of all"}


def cpu_by_level(study: Study) -> Figure:
    """CPU milliseconds per MB against n: median and quartiles of the trials."""
    costs = per_trial(study.scenario) * MS_PER_S
    if costs.notna().sum() == 0:
        raise NotEnoughDataError("CPU time was not measured")
    return _one_panel(study, costs, "CPU time (ms per MB)")


def memory_by_level(study: Study) -> Figure:
    """Peak memory of the stack (clients, daemon, boundary) against n: median and quartiles."""
    peaks = memory(study.scenario)
    if peaks.notna().sum() == 0:
        raise NotEnoughDataError("memory was not measured")
    return _one_panel(study, peaks, "Peak memory (MB)")


def straggling_by_level(study: Study) -> Figure:
    """What the slowest process comes later than the median one, against n: median and quartiles."""
    rows = parts(study.scenario)
    return _one_panel(study, rows["straggling_ms"], "Slowest after the median (ms)")


def goodput_by_level(study: Study) -> Figure:
    """Goodput of whole trials against n: median and quartiles."""
    rows = study.scenario.rows
    if rows.empty:
        raise NotEnoughDataError("there is no complete pair")
    return _one_panel(study, rows["megabytes"] * BITS_PER_BYTE / (rows["ms"] / MS_PER_S), "Goodput (Mbit/s)")


def percentiles_by_level(study: Study) -> Figure:
    """When single processes had the file, by n and arm: median, 99th percentile, slowest."""
    table = percentiles(study.scenario)
    if table.empty:
        raise NotEnoughDataError("no used trial has samples")
    with styled():
        figure = canvas(7.2, 3.5)
        panels = figure.subplots(1, len(PERCENTILE_TITLES), sharey=True)
        for axes, (name, title) in zip(panels, PERCENTILE_TITLES.items(), strict=True):
            for arm in table.index.get_level_values("arm").unique():
                line = table.loc[arm][name]
                axes.plot(line.index, line, **_look(study, int(arm), len(line)))
            axes.set_title(title)
            count_axis(axes)
        panels[0].set_ylim(bottom=0)  # shared, so after the last line is drawn
        panels[0].set_ylabel("Milliseconds after the release")
        common_legend(figure, panels)
        mark(figure, study.scenario)
    return figure


def _one_panel(study: Study, values: pd.Series, label: str) -> Figure:
    with styled():
        figure = canvas(6.4, 3.2)
        axes: Axes = figure.subplots()
        rows = study.scenario.rows
        for arm in (0, 1):
            mine = rows["arm"] == arm
            by_n = values[mine].groupby(rows["n"][mine])
            median = by_n.median()
            axes.plot(median.index, median, **_look(study, arm, len(median)))
            low, high = by_n.quantile(0.25), by_n.quantile(0.75)
            axes.fill_between(median.index, low, high, color=ARM_COLOURS[arm], alpha=0.18, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(label)
        axes.set_title("Median and quartiles of the trials")
        count_axis(axes)
        axes.legend(loc="best")
        mark(figure, study.scenario)
    return figure


def _look(study: Study, arm: int, levels: int) -> dict[str, Any]:
    marker = ARM_MARKERS[arm] if levels <= FEW_LEVELS else None
    return {
        "color": ARM_COLOURS[arm],
        "linestyle": ARM_DASHES[arm],
        "marker": marker,
        "label": study.scenario.arms[arm],
    }
