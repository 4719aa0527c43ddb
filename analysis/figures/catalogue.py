"""Every figure of one scenario, with what it shows and what trouble would look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.figures import cost, diagnostics, figure4, growth
from analysis.study import Study


@dataclass(frozen=True)
class Entry:
    """One figure: how it is drawn, its title, and how to read it."""

    name: str
    title: str
    reading: str
    draw: Callable[[Study], Figure]


CATALOGUE = (
    Entry(
        "figure4",
        "Figure 4",
        "Time from the release until the slowest process has the last byte. Where the lines lie on each "
        "other, the stacks tie; a straight line through the origin is a full link; a line that bends "
        "upwards is a queue that grows faster than n.",
        lambda study: figure4.draw([study.scenario]),
    ),
    Entry(
        "pair-differences",
        "Pair differences against n",
        "Each point is one pair, run back to back, so that what both shared has cancelled. The slope of "
        "the line is the headline. A bent cloud means that one slope does not describe the difference; a "
        "fan means that the variance grows with n, which is what the weighted check is for.",
        diagnostics.pair_differences,
    ),
    Entry(
        "block-slopes",
        "Slopes by block",
        "One slope a block and stack. Blocks that scatter more than their own width, or that drift from "
        "left to right, say that the machine changed during the campaign; the differences should not "
        "drift even then.",
        diagnostics.block_slopes,
    ),
    Entry(
        "residuals",
        "Residuals",
        "Left against the fitted value: a curve says that the line is the wrong shape. Right against the "
        "order of execution: a trend or steps say that the machine drifted. Circles are trials classified "
        "as unusual; they stay in the fit.",
        diagnostics.residuals,
    ),
    Entry(
        "quantiles",
        "Normal quantiles of the residuals",
        "Points on the line are normal. Heavy tails (an S) make single trials matter; the interval by "
        "blocks and the permutation do not need normal residuals.",
        diagnostics.normal_quantiles,
    ),
    Entry(
        "cpu",
        "CPU time per megabyte",
        "What a stack costs where the wire decides the time: clients, daemon and boundary together; the "
        "server's share is apart and should be the same for both.",
        cost.cpu_per_megabyte,
    ),
    Entry(
        "phases",
        "Phase times",
        "When each client had TCP, TLS, the first and the last byte. The SSA's connect is one call, so it "
        "has no TCP time of its own.",
        cost.phase_times_by_n,
    ),
    Entry(
        "cpu-by-n",
        "CPU time per megabyte by n",
        "A flat line is a cost a byte; one that falls is a cost a trial, spread over more processes; one that rises "
        "is what processes cost each other.",
        growth.cpu_by_level,
    ),
    Entry(
        "memory",
        "Memory by n",
        "Peaks of the clients and of what does TLS for them, added up. Pages that processes share count for each, so "
        "it is an upper bound, alike for both stacks.",
        growth.memory_by_level,
    ),
    Entry(
        "processes",
        "Single processes by n",
        "When single processes had their file. Lines that part in the right panel only say that the stacks differ in "
        "their stragglers.",
        growth.percentiles_by_level,
    ),
    Entry(
        "straggling",
        "The straggler effect",
        "How much later than the median process the slowest came. A trial lasts as long as its slowest: this is part "
        "of every time above.",
        growth.straggling_by_level,
    ),
    Entry(
        "link",
        "Link use",
        "Goodput at the link's rate means that the wire, not the stack, decides the time. "
        "Retransmissions that differ between the stacks point at the network, not at TLS.",
        cost.link_use,
    ),
    Entry(
        "failures",
        "Trials that did not end well",
        "They are kept, counted, left out of the fit and run again. Failures that pile up in one stack or "
        "at large n would bias what is left.",
        cost.failures,
    ),
)
