"""What was spent, where the time went, how full the link was, and what failed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.cpu import Cost
from analysis.errors import NotEnoughDataError
from analysis.estimates import Estimate
from analysis.figures.style import (
    ARM_COLOURS,
    ARM_DASHES,
    ARM_MARKERS,
    BLACK,
    BLUE,
    FEW_LEVELS,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILION,
    canvas,
    common_legend,
    count_axis,
    mark,
    styled,
    wrapped,
)
from analysis.frames import Fate
from analysis.phases import PHASES, phase_times, used_samples
from analysis.sentences import ci, significant
from analysis.study import Study

MS_PER_S = 1000
SERVER = "server (apart)"
BITS_PER_BYTE = 8
PHASE_TITLES = {
    "tcp": "TCP connected",
    "tls": "TLS done, peer verified",
    "first byte": "First byte",
    "last byte": "Last byte",
}
PARTY_LOOKS: dict[str, dict[str, Any]] = {
    "clients": {"color": BLUE},
    "daemon": {"color": ORANGE, "hatch": "//"},
    "boundary": {"color": GREEN, "hatch": ".."},
    "server": {"color": "#D9D9D9", "hatch": ""},
}
FATE_LOOKS: dict[str, dict[str, Any]] = {
    Fate.FAILED: {"color": VERMILION},
    Fate.TIMEOUT: {"color": ORANGE, "hatch": "//"},
    Fate.INVALID: {"color": PURPLE, "hatch": ".."},
    Fate.ABORTED: {"color": BLACK},
}


def cpu_per_megabyte(study: Study) -> Figure:
    """Stacked bars, CPU milliseconds per MB: the stack's parties, and the server apart."""
    costs = (study.verdict.cpu.baseline, study.verdict.cpu.other)
    if all(cost.clients is None for cost in costs):
        raise NotEnoughDataError("CPU time was not measured")
    with styled():
        figure = canvas(6.4, 2.6)
        axes = figure.subplots()
        for row, cost in enumerate(costs):
            _stack(axes, row, cost)
        axes.set_yticks([0, 1], [wrapped(cost.arm) for cost in costs])
        axes.set_ylim(-0.65, 1.65)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"CPU time (ms per MB; {ci(1 - study.verdict.judgement.alpha)} of the blocks' mean)")
        axes.margins(x=0.1)
        _one_legend_entry_each(axes)
        mark(figure, study.scenario)
    return figure


def _stack(axes: Axes, row: int, cost: Cost) -> None:
    left = 0.0
    for party, look in PARTY_LOOKS.items():
        seconds = getattr(cost, party)
        if seconds is None or party == "server":
            continue
        width = seconds * MS_PER_S
        axes.barh(row + 0.1, width, 0.5, left=left, label=party, edgecolor="white", **look)
        left += width
    if cost.server is not None:
        look = PARTY_LOOKS["server"]
        axes.barh(row - 0.3, cost.server * MS_PER_S, 0.2, label=SERVER, edgecolor="white", **look)
    if isinstance(cost.stack, Estimate):
        ends = np.array([[cost.stack.value - cost.stack.ci_low], [cost.stack.ci_high - cost.stack.value]])
        value = cost.stack.value * MS_PER_S
        axes.errorbar(value, row + 0.1, xerr=ends * MS_PER_S, color=BLACK, capsize=3, linewidth=1.2)
        axes.annotate(
            significant(value, 3),
            (cost.stack.ci_high * MS_PER_S, row + 0.1),
            va="center",
            xytext=(4, 0),
            textcoords="offset points",
        )


def _one_legend_entry_each(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(reversed(labels), reversed(handles), strict=True))
    ordered = [label for label in (*PARTY_LOOKS, SERVER) if label in unique]
    axes.legend([unique[label] for label in ordered], ordered, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def phase_times_by_n(study: Study) -> Figure:
    """Median and quartiles of each phase's end, by stack and n."""
    table = phase_times(used_samples(study.scenario))
    if table.empty:
        raise NotEnoughDataError("no used trial has samples with phase times")
    present = [phase for phase in PHASES if phase in table.index.get_level_values("phase")]
    with styled():
        high = -(-len(present) // 2)
        figure = canvas(6.4, 2.5 * high + 0.4)
        grid = figure.subplots(high, 2, squeeze=False).ravel()
        for axes, phase in zip(grid, present, strict=False):
            _phase_panel(
                axes,
                table[table.index.get_level_values("phase") == phase].droplevel("phase"),
                phase,
                study.scenario.arms,
            )
        for axes in grid[len(present) :]:
            axes.set_axis_off()
        common_legend(figure, list(grid[: len(present)]))
        figure.supylabel("ms after the release\n(median, quartiles)", fontsize=10)
        mark(figure, study.scenario)
    return figure


def _phase_panel(axes: Axes, table: pd.DataFrame, phase: str, arms: tuple[str, str]) -> None:
    for arm in table.index.get_level_values("arm").unique():
        line = table.loc[arm]
        look: dict[str, Any] = {"color": ARM_COLOURS[arm], "linestyle": ARM_DASHES[arm], "label": arms[arm]}
        axes.plot(line.index, line["median"], marker=ARM_MARKERS[arm] if len(line) <= FEW_LEVELS else None, **look)
        axes.fill_between(line.index, line["q25"], line["q75"], color=ARM_COLOURS[arm], alpha=0.18, linewidth=0)
    axes.set_title(PHASE_TITLES[phase])
    axes.set_ylim(bottom=0)
    count_axis(axes)


def link_use(study: Study) -> Figure:
    """Goodput against n (median and range of the trials), and segments resent where they were counted."""
    rows = study.scenario.rows
    if rows.empty:
        raise NotEnoughDataError("there is no complete pair")
    goodput = rows["megabytes"] * BITS_PER_BYTE / (rows["ms"] / MS_PER_S)
    resent = rows["tcp_retransmits"].astype("Float64").astype(float)
    panels = [("Goodput (Mbit/s)", goodput)]
    if resent.notna().any():
        panels.append(("Segments resent per trial", resent))
    with styled():
        figure = canvas(6.4, 3.0)
        grid = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (label, values) in zip(grid, panels, strict=True):
            _by_level(axes, study, values)
            axes.set_ylabel(label)
            axes.set_title("Median and range of the trials", fontsize=9)
        common_legend(figure, grid)
        mark(figure, study.scenario)
    return figure


def _by_level(axes: Axes, study: Study, values: pd.Series) -> None:
    rows = study.scenario.rows
    for arm in (0, 1):
        mine = rows["arm"] == arm
        by_n = values[mine].groupby(rows["n"][mine])
        median = by_n.median()
        marker = ARM_MARKERS[arm] if len(median) <= FEW_LEVELS else None
        look: dict[str, Any] = {"color": ARM_COLOURS[arm], "linestyle": ARM_DASHES[arm], "marker": marker}
        axes.plot(median.index, median, label=study.scenario.arms[arm], **look)
        axes.fill_between(median.index, by_n.min(), by_n.max(), color=ARM_COLOURS[arm], alpha=0.18, linewidth=0)
    axes.set_ylim(bottom=0)
    count_axis(axes)


def failures(study: Study) -> Figure:
    """Trials that did not end well, by n and arm."""
    trials = study.scenario.trials
    bad = trials[trials["outcome"] != "ok"]
    if bad.empty:
        raise NotEnoughDataError("every trial ended well, so there is nothing to draw")
    with styled():
        figure = canvas(6.4, 2.8)
        panels = figure.subplots(1, 2, sharey=True, sharex=True)
        levels = sorted(trials["n"].unique())
        for arm, axes in enumerate(panels):
            _failure_bars(axes, bad[bad["arm"] == arm], levels)
            axes.set_title(wrapped(study.scenario.arms[arm]))
        for axes in panels:  # they share it, so after the last bar is drawn
            count_axis(axes)
        panels[0].set_ylabel("Trials")
        panels[0].yaxis.get_major_locator().set_params(integer=True)
        common_legend(figure, panels)
        mark(figure, study.scenario)
    return figure


def _failure_bars(axes: Axes, bad: pd.DataFrame, levels: list[int]) -> None:
    bottom = np.zeros(len(levels))
    width = max(0.8, 0.8 * float(np.diff(levels).min())) if len(levels) > 1 else 0.8
    for fate, look in FATE_LOOKS.items():
        counts = bad[bad["outcome"] == str(fate)].groupby("n").size().reindex(levels, fill_value=0).to_numpy()
        if counts.any():
            axes.bar(levels, counts, width, bottom=bottom, label=str(fate), **look)
        bottom += counts
