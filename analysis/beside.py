"""A comparison in words and tables.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from analysis.comparison import Comparison, Guarded, Side, Standing
from analysis.estimates import Missing, Result
from analysis.models import UNIT_SLOPE
from analysis.sentences import ci, interval, p_text, signed, significant, stopping

SAID = {
    Standing.WITHIN: "within the threshold: a change as large as that is ruled out",
    Standing.BEYOND: "beyond the threshold: the interval lies wholly outside",
    Standing.UNDECIDED: "undecided: the interval reaches across the threshold; more blocks would tell (analysis power)",
}


def renderables(found: Comparison) -> Iterator[RenderableType]:
    """What differs first; then the changes; then where the guarded ones stand."""
    yield Text(f"A: {found.a.campaign} ({_size(found.a)})", style="bold")
    yield Text(f"B: {found.b.campaign} ({_size(found.b)})", style="bold")
    if found.a.campaign == found.b.campaign:
        yield Text("Note: A and B are one campaign, so there is nothing to find but its own noise.", style="yellow")
    for one in found.incomparable:
        yield Text(f"Not the same question: {one.what} is {one.a} and {one.b}", style="yellow")
    for said in stopping((*found.a.stopping, *found.b.stopping)):
        yield Text(said)
    yield _differences(found)
    yield _changes(found)
    for guarded in found.guarded:
        yield Text(standing(guarded))
    yield Text(f"Comparison: {found.standing}", style="bold")


def _size(side: Side) -> str:
    if isinstance(side.slopes, Missing):
        return f"{side.blocks} blocks; {side.slopes.reason}"
    return f"{side.blocks} blocks, {side.slopes.levels} levels, {side.slopes.pairs} pairs"


def _differences(found: Comparison) -> RenderableType:
    if not found.differences:
        return Text("Plan, machine, kernel and versions are the same.")
    table = Table(title="What differs", title_justify="left", title_style="bold")
    for name in ("", "A", "B"):
        table.add_column(name, overflow="fold")
    for one in found.differences:
        table.add_row(Text(one.what), Text(one.a), Text(one.b))
    return table


def _changes(found: Comparison) -> RenderableType:
    title = f"From A to B ({found.link}, {found.profile}, boundary {found.boundary})"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("", "A", "B", "change", ci(1 - found.alpha), "p"):
        table.add_column(name, justify="right" if name in {"A", "B", "change", "p"} else "left", overflow="fold")
    a, b = found.a, found.b
    base, other = a.baseline, a.other
    table.add_row(f"{base}, {UNIT_SLOPE}", *_slope(a, 0), *_slope(b, 0), *_change(found.baseline_slope))
    table.add_row(f"{other}, {UNIT_SLOPE}", *_slope(a, 1), *_slope(b, 1), *_change(found.other_slope))
    table.add_row(f"{other} minus {base}, {UNIT_SLOPE}", *_slope(a, 2), *_slope(b, 2), *_change(found.effect))
    table.add_row(f"{base}, CPU s per MB", *_cost(a, 0), *_cost(b, 0), *_change(found.baseline_cpu, "×"))
    table.add_row(f"{other}, CPU s per MB", *_cost(a, 1), *_cost(b, 1), *_change(found.other_cpu, "×"))
    table.add_row(f"{other} / {base}, CPU", *_cost(a, 2), *_cost(b, 2), *_change(found.cpu_ratio, "×"))
    notes = [Text(f"not enough data: {reason}", style="yellow") for reason in _reasons(found)]
    return Group(table, *notes)


def _reasons(found: Comparison) -> list[str]:
    """Why changes are missing, each reason once."""
    changes = (found.baseline_slope, found.other_slope, found.effect)
    costs = (found.baseline_cpu, found.other_cpu, found.cpu_ratio)
    return list(dict.fromkeys(one.reason for one in (*changes, *costs) if isinstance(one, Missing)))


def _slope(side: Side, which: int) -> tuple[str]:
    if isinstance(side.slopes, Missing):
        return ("",)
    if which == 2:
        return (signed(side.slopes.difference.value),)
    return (significant((side.slopes.baseline_slope, side.slopes.other_slope)[which].value, 4),)


def _cost(side: Side, which: int) -> tuple[str]:
    results = (side.cpu.baseline.stack, side.cpu.other.stack, side.cpu.ratio)
    found = results[which]
    return ("" if isinstance(found, Missing) else significant(found.value, 4),)


def _change(change: Result, factor: str = "") -> tuple[str, str, str]:
    if isinstance(change, Missing):
        return "", "", ""
    if factor:
        value, low, high = (significant(number, 4) for number in (change.value, change.ci_low, change.ci_high))
        return f"{factor} {value}", f"{low} to {high}", f"{change.p:.2g}"
    span = f"{signed(change.ci_low)} to {signed(change.ci_high)}"
    return signed(change.value), span, f"{change.p:.2g}"


def standing(guarded: Guarded) -> str:
    """Effect: +0.01 ms per process (95 % CI ..., p = 0.8): within the threshold (-0.4 to +0.4): ..."""
    change = guarded.change
    if isinstance(change, Missing):
        return f"Change of the {guarded.name}: not enough data, so undecided: {change.reason}"
    if change.unit == UNIT_SLOPE:
        span = interval(change.ci_low, change.ci_high, change.level)
        limits = f"{guarded.low:+.4g} to {guarded.high:+.4g}"
        text = f"{signed(change.value)} {UNIT_SLOPE} ({span}, {p_text(change.p)})"
    else:
        value, low, high = (significant(number, 4) for number in (change.value, change.ci_low, change.ci_high))
        limits = f"{guarded.low:.4g} to {guarded.high:.4g}"
        text = f"× {value} ({ci(change.level)} {low} to {high}, {p_text(change.p)})"
    return f"Change of the {guarded.name}: {text}; threshold {limits}; {SAID[guarded.standing]}"
