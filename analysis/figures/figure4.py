"""The paper's Figure 4: time until all processes have the file, against how many there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats as _stats

from analysis import libraries
from analysis.errors import NotEnoughDataError
from analysis.figures.style import (
    ARM_MARKERS,
    BLACK,
    BLUE,
    FEW_LEVELS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    VERMILION,
    canvas,
    mark,
    styled,
    synthetic_mark,
    wrapped,
)
from analysis.frames import NAMES, Scenario
from analysis.sentences import ci
from harness.records import Link, Stack

stats: Any = _stats
MS_PER_S = 1000
LEVEL = 0.95
PAPER_X = (0, 100)
PAPER_Y_S = (0, 1.0)
FAR = frozenset({Link.WAN, Link.REMOTE})
MOST_SCENARIOS = 4  # in one panel: more lines than eight nobody tells apart
FEW_PANELS = 4
LABEL_WIDTH = 44
TOLD_2018 = ": as the 2018 design would have reported"

WHERE = {Link.LOOPBACK: "local", Link.LAN: "local, emulated", Link.WAN: "remote, emulated", Link.REMOTE: "remote"}
NOTES = {
    Link.LOOPBACK: "local: loopback of one machine, no link rate",
    Link.LAN: "local, emulated: two network namespaces on one machine, rate limited",
    Link.WAN: "remote, emulated: two network namespaces on one machine, rate limited, packets delayed",
    Link.REMOTE: "remote: a server on another machine",
}
# One line style an arm and link; dark and light, dashed and not, marked and not: told apart in grey.
STYLES: dict[tuple[Link, int], dict[str, Any]] = {
    (Link.LOOPBACK, 1): {"color": BLUE, "linestyle": "solid"},
    (Link.LOOPBACK, 0): {"color": VERMILION, "linestyle": (0, (4, 1.6))},
    (Link.LAN, 1): {"color": BLUE, "linestyle": "solid"},
    (Link.LAN, 0): {"color": VERMILION, "linestyle": (0, (4, 1.6))},
    (Link.WAN, 1): {"color": SKY, "linestyle": "solid", "marker": "^"},
    (Link.WAN, 0): {"color": ORANGE, "linestyle": (0, (1, 1.2)), "marker": "D"},
    (Link.REMOTE, 1): {"color": SKY, "linestyle": "solid", "marker": "^"},
    (Link.REMOTE, 0): {"color": ORANGE, "linestyle": (0, (1, 1.2)), "marker": "D"},
}
FLOOR: dict[str, Any] = {"color": GREY, "linestyle": (0, (1, 2.5)), "marker": "", "linewidth": 1.2}
SECOND_LOCAL: dict[int, dict[str, Any]] = {
    1: {"color": GREEN, "linestyle": (0, (6, 1.5, 1, 1.5)), "marker": "v"},
    0: {"color": PURPLE, "linestyle": (0, (2, 2)), "marker": "X"},
}
MORE: tuple[dict[int, dict[str, Any]], ...] = (
    {
        1: {"color": BLACK, "linestyle": (0, (1, 1.2)), "marker": "P"},
        0: {"color": GREY, "linestyle": (0, (1, 1.2)), "marker": "x"},
    },
    {
        1: {"color": GREEN, "linestyle": (0, (3, 1, 1, 1)), "marker": "<"},
        0: {"color": PURPLE, "linestyle": (0, (3, 1, 1, 1)), "marker": ">"},
    },
    {
        1: {"color": SKY, "linestyle": (0, (5, 1)), "marker": "*"},
        0: {"color": ORANGE, "linestyle": (0, (5, 1)), "marker": "h"},
    },
)
"""Further boundaries, stacks or campaigns on one link, and the second of two remote links; then from the start."""


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """By impl and n: mean seconds, how many trials, and the 95 % band of Student's t (NaN with one trial)."""
    seconds = (rows["ms"] / MS_PER_S).groupby([rows["impl"], rows["n"]], observed=True)
    table = seconds.agg(["mean", "std", "count"])
    half = stats.t.ppf((1 + LEVEL) / 2, table["count"] - 1) * table["std"] / table["count"] ** 0.5
    return table.assign(low=table["mean"] - half, high=table["mean"] + half)


def draw(scenarios: Sequence[Scenario]) -> Figure:
    """One line an arm of each scenario, on the paper's axes (which grow only if the data do not fit).

    Each profile has a panel of its own: their clocks enclose different things.  Where that would be too many lines,
    each campaign has.
    """
    if all(scenario.rows.empty for scenario in scenarios):
        raise NotEnoughDataError("Figure 4 needs at least one complete pair of ok trials")
    with styled():
        panels = _panels(scenarios)
        wide = 1 if len(panels) == 1 else 2 if len(panels) <= FEW_PANELS else 3
        high = -(-len(panels) // wide)
        figure = canvas(6.4 if wide == 1 else 9.6, 4.3 if wide == 1 else (3.7 if wide == 2 else 2.9) * high + 0.5)
        grid = figure.subplots(high, wide, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, (title, together) in zip(grid, panels.items(), strict=False):
            _panel(axes, together)
            if len(scenarios) > 1:
                axes.set_title(title, fontsize=SMALL if wide > 2 else None)
            if axes.lines:
                axes.legend(loc="upper left", fontsize=SMALL if wide > 2 else None)
            axes.tick_params(labelbottom=True)
        _frame(grid[0])
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        figure.supxlabel("\n".join(_notes(scenarios)), fontsize=SMALL, x=0.01, ha="left")
        if len(scenarios) == 1:
            mark(figure, scenarios[0])
        else:
            synthetic_mark(figure, any(scenario.is_synthetic for scenario in scenarios))
    return figure


def _panels(scenarios: Sequence[Scenario]) -> dict[str, list[Scenario]]:
    """The scenarios that share a panel, by its title."""
    for title in (_profile, _campaign):
        panels: dict[str, list[Scenario]] = {}
        for scenario in scenarios:
            panels.setdefault(title(scenario), []).append(scenario)
        if max(map(len, panels.values())) <= MOST_SCENARIOS:
            break
    return panels


def _profile(scenario: Scenario) -> str:
    return f"profile {scenario.profile}" + (TOLD_2018 if scenario.is_2018 else "")


def _campaign(scenario: Scenario) -> str:
    return f"{', '.join(scenario.names)},\nprofile {scenario.profile}"


def _panel(axes: Axes, scenarios: Sequence[Scenario]) -> None:
    for place, scenario in enumerate(scenarios):
        left_out = _drawn(scenario, scenarios[:place]) | _above_floor(scenario, scenarios)
        _lines(axes, scenario, _styles(scenario, scenarios), left_out)
    axes.set_xlabel("Number of Processes")
    axes.tick_params(colors=BLACK)
    cell = axes.get_subplotspec()
    if cell is None or cell.is_first_col():
        axes.set_ylabel("Time Elapsed (s)")


def _notes(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """What must be known to read the lines; each note once."""
    yield from dict.fromkeys(note for scenario in scenarios for note in _notes_of(scenario))
    yield f"bands: {ci(LEVEL)} of the mean over the blocks, Student's t"


def _notes_of(scenario: Scenario) -> Iterator[str]:
    yield NOTES[scenario.link]
    if said := libraries.mismatch(scenario.campaigns[0], scenario.arms):
        yield said
    if scenario.has_floor:
        yield "plain HTTP: the floor, without TLS; no claim is tested against it"
    if scenario.is_2018:
        yield "profile paper-2018: as the 2018 design would have reported; it is not a fair one, and nothing is judged"


def _styles(scenario: Scenario, scenarios: Sequence[Scenario]) -> dict[int, dict[str, Any]]:
    """How the lines of each arm look beside those of the other scenarios."""
    firsts: list[Link] = []
    more: list[Scenario] = []
    for other in scenarios:
        is_clashing = other.link in firsts or (other.link in FAR and not FAR.isdisjoint(firsts))
        firsts += [] if is_clashing else [other.link]
        more += [other] if is_clashing else []
    if any(scenario is other for other in more):
        return MORE[next(k for k, other in enumerate(more) if other is scenario) % len(MORE)]
    if scenario.link is Link.LOOPBACK and Link.LAN in firsts:
        return SECOND_LOCAL
    return {arm: STYLES[scenario.link, arm] for arm in (0, 1)}


def _drawn(scenario: Scenario, before: Sequence[Scenario]) -> set[str]:
    """Arms of its campaign that have a line already: with two boundaries the baseline is drawn once on a link."""
    same = [other for other in before if (other.names, other.link) == (scenario.names, scenario.link)]
    return {name for other in same for name in other.arms}


def _above_floor(scenario: Scenario, scenarios: Sequence[Scenario]) -> set[str]:
    """Of a campaign with a floor only the floor is drawn, where another one shows what stands above it."""
    is_shown = any(other.link is scenario.link and not other.has_floor for other in scenarios)
    return set(scenario.arms) - {NAMES[Stack.PLAIN]} if scenario.has_floor and is_shown else set()


def _lines(axes: Axes, scenario: Scenario, styles: dict[int, dict[str, Any]], left_out: set[str]) -> None:
    table = means(scenario.rows)
    for arm in (1, 0):
        name = scenario.arms[arm]
        style = FLOOR if name == NAMES[Stack.PLAIN] else styles[arm]
        if name in left_out or name not in table.index.get_level_values(0):
            continue
        line = table.loc[name]
        label = wrapped(f"{name} ({WHERE[scenario.link]})", LABEL_WIDTH)
        marker = {"marker": ARM_MARKERS[arm]} if len(line) <= FEW_LEVELS else {}
        look = (
            {"markevery": 1 if len(line) <= FEW_LEVELS else len(line) // 10, "markersize": 3.5, "zorder": 3}
            | marker
            | style
        )
        axes.plot(line.index, line["mean"], label=label, **look)
        axes.fill_between(line.index, line["low"], line["high"], color=style["color"], alpha=0.2, linewidth=0)


def _frame(axes: Axes) -> None:
    """The paper's axes; the panels share them."""
    _, right = axes.get_xlim()
    _, top = axes.get_ylim()
    axes.set_xlim(PAPER_X[0], PAPER_X[1] if right <= PAPER_X[1] * 1.1 else right)
    axes.set_ylim(PAPER_Y_S[0], PAPER_Y_S[1] if top <= PAPER_Y_S[1] * 1.05 else top)
