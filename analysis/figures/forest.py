"""Many comparisons at a glance: each one's slope difference with its interval and margin, and its CPU ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullFormatter

from analysis.errors import NotEnoughDataError
from analysis.estimates import Missing, Result
from analysis.figures.style import BLACK, BLUE, GREY, SMALL, canvas, styled, synthetic_mark, wrapped
from analysis.frames import Scenario
from analysis.sentences import ci, signed, word
from analysis.study import Study

ROW_IN = 0.4
MARGIN_HEIGHT = 0.7
MARGINS_SHOWN = 3.5
NAME_WIDTH = 50


def draw(studies: Sequence[Study]) -> Figure:
    """One row a comparison, in the order given, the first on top.

    The left axis ends at some margins: what lies further out is an arrow with its number, so that the rest is legible.

    Raises:
        NotEnoughDataError: there is neither a slope difference nor a CPU ratio to draw.
    """
    verdicts = [study.verdict for study in studies]
    slopes = [
        verdict.slopes if isinstance(verdict.slopes, Missing) else verdict.slopes.difference for verdict in verdicts
    ]
    ratios = [verdict.cpu.ratio for verdict in verdicts]
    if all(isinstance(found, Missing) for found in (*slopes, *ratios)):
        raise NotEnoughDataError("no comparison has an interval")
    margins = [verdict.judgement.margin_ms_per_process for verdict in verdicts]
    with styled():
        figure = canvas(9.6, ROW_IN * len(studies) + 1.2)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        left.set_xlim(-MARGINS_SHOWN * max(margins), MARGINS_SHOWN * max(margins))
        right.set_xscale("log")
        for row, (study, margin) in enumerate(zip(studies, margins, strict=True)):
            left.barh(row, 2 * margin, MARGIN_HEIGHT, left=-margin, color=GREY, alpha=0.25, linewidth=0)
            is_judged = study.verdict.word is not None
            _interval(left, row, slopes[row], is_judged=is_judged)
            _interval(right, row, ratios[row], is_judged=is_judged)
        _label(left, right, studies)
        synthetic_mark(figure, any(verdict.is_synthetic for verdict in verdicts))
    return figure


def _interval(axes: Axes, row: int, found: Result, *, is_judged: bool) -> None:
    """Filled where the comparison got a verdict, open where it is only told."""
    if isinstance(found, Missing):
        axes.annotate("not enough data", (0.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL)
        return
    look: dict[str, Any] = {"color": BLUE, "markerfacecolor": BLUE if is_judged else "white", "markersize": 4.5}
    low, high = axes.get_xlim()
    if axes.get_xscale() == "linear" and not low < found.value < high:
        is_low = found.value <= low
        end, marker, inwards = (low, "<", 8) if is_low else (high, ">", -8)
        axes.plot(end, row, marker=marker, clip_on=False, **look)
        text = f"{signed(found.value)} ({signed(found.ci_low)} to {signed(found.ci_high)})"
        place: dict[str, Any] = {
            "xytext": (inwards, 0),
            "textcoords": "offset points",
            "ha": "left" if is_low else "right",
        }
        axes.annotate(text, (end, row), va="center", fontsize=SMALL, **place)
        return
    axes.plot([found.ci_low, found.ci_high], [row, row], color=BLUE, linewidth=2.2, solid_capstyle="butt")
    axes.plot(found.value, row, marker="o", **look)


def _label(left: Axes, right: Axes, studies: Sequence[Study]) -> None:
    rows = range(len(studies))
    left.set_yticks(rows, [_name(study.scenario) for study in studies], fontsize=SMALL)
    left.set_ylim(len(studies) - 0.5, -0.5)
    left.axvline(0, color=BLACK, linewidth=0.8)
    right.axvline(1, color=BLACK, linewidth=0.8)
    right.tick_params(left=False)
    words = right.secondary_yaxis("right")
    words.set_yticks(rows, [word(study.verdict) for study in studies], fontsize=SMALL)
    right.xaxis.set_major_locator(MultipleLocator(0.5))
    right.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    right.xaxis.set_minor_formatter(NullFormatter())
    levels = " or ".join(sorted({ci(1 - study.verdict.judgement.alpha) for study in studies}))
    left.set_xlabel(f"Slope difference (ms per process)\n{levels}; grey: the plan's margin", fontsize=9)
    right.set_xlabel(f"CPU per MB, ratio\n{levels}; log scale", fontsize=9)
    for axes in (left, right):
        axes.grid(visible=False, axis="y")


def _name(scenario: Scenario) -> str:
    baseline, other = scenario.arms
    link = f"{scenario.link} (emulated)" if scenario.link.is_emulated else str(scenario.link)
    campaigns = ", ".join(scenario.names)
    return f"{campaigns}, {link}, {scenario.profile}\n{wrapped(f'{other} against {baseline}', NAME_WIDTH)}"
