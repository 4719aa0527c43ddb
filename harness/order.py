"""The order of trials: randomised complete blocks, pairs back to back, balanced coin flips.

Pure; randomness is an argument.

A *part* of a campaign is one profile on one link.  A *block* is one complete pass through all parts, one after the
other in a random order, and within each through all cells in a random order; a cell is a value of n and, where the
plan has several, a boundary of the SSA.  A *pair* is both arms of one cell in one block, one right after the
other, so that slow drift of the machine hits both alike.  Which arm goes first is a coin flip, balanced
twice: within each block, and for each cell over the blocks, as many pairs begin with one arm as with the
other (or one more, where the number is odd).

The parts of profile ``paper-2018`` alone have the published order, which nothing randomises: in each block all
trials of the SSA, n ascending, then all of OpenSSL's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.records import Boundary, Profile, Stack
from harness.routes import Route, route


@dataclass(frozen=True)
class Part:
    """What is measured, fitted and judged apart."""

    link: str  # in a plan that has not been run yet perhaps "auto"
    profile: Profile = Profile.SOUND

    def __str__(self) -> str:
        return f"{self.link}, {self.profile}"


AUTO = Part("auto")


@dataclass(frozen=True)
class PlannedTrial:
    """One trial as planned."""

    trial_id: str
    block: int
    pair: int  # counts through the whole campaign
    position: int  # 0: first of its pair
    arm: int  # index into the plan's stacks
    name: str  # of the arm: the stack's, in an A/A plan with a letter
    stack: Stack
    n: int
    boundary: Boundary | None = None  # ssa only
    part: Part = AUTO
    place: int = 0  # in the order of the campaign, when nothing fails

    @property
    def route(self) -> Route:
        """How its clients reach TLS."""
        return Route(self.stack, self.boundary)


@dataclass(frozen=True)
class PlannedPair:
    """Both arms of one cell in one block, in the order in which they run, mostly one right after the other."""

    block: int
    pair: int
    n: int
    trials: tuple[PlannedTrial, PlannedTrial]


def make_order(
    levels: Sequence[int],
    blocks: int,
    stacks: tuple[Stack, Stack],
    rng: random.Random,
    boundaries: Sequence[Boundary] = (Boundary.SECCOMP,),
    *,
    parts: Sequence[Part] = (AUTO,),
) -> tuple[PlannedPair, ...]:
    """Every pair of the campaign in the order of execution; the same ``rng`` state gives the same order."""
    cells = [(n, boundary) for boundary in boundaries for n in levels]
    flips = {part: balanced_flips(len(cells), blocks, rng) for part in parts if not _is_published(part)}
    order: list[PlannedPair] = []
    for block in range(blocks):
        turns = list(parts)
        if len(turns) > 1:
            rng.shuffle(turns)
        for part in turns:
            columns = list(range(len(cells)))
            first_arms = [_published_first(stacks)] * len(cells)
            if not _is_published(part):
                rng.shuffle(columns)
                first_arms = [flips[part][column][block] for column in range(len(cells))]
            at = len(order)
            for nth, column in enumerate(columns):
                places = (2 * (at + nth), 2 * (at + nth) + 1)
                if _is_published(part):
                    places = (2 * at + nth, 2 * at + len(cells) + nth)
                order.append(_pair((block, len(order)), cells[column], first_arms[column], stacks, (part, places)))
    return tuple(order)


def in_turn(order: Sequence[PlannedPair]) -> list[PlannedTrial]:
    """Every trial in the order of execution, when nothing fails."""
    return sorted((trial for pair in order for trial in pair.trials), key=lambda trial: trial.place)


def _is_published(part: Part) -> bool:
    return part.profile is Profile.PAPER_2018


def _published_first(stacks: tuple[Stack, Stack]) -> int:
    """The arm that the published harness ran first: the SSA's."""
    return stacks.index(Stack.SSA) if Stack.SSA in stacks else 1


def balanced_flips(rows: int, columns: int, rng: random.Random) -> list[list[int]]:
    """A random 0/1 table whose every row and every column holds as many ones as zeros, give or take one.

    Begins with a chequerboard (balanced), and exchanges randomly chosen corners 1 0 / 0 1 for 0 1 / 1 0,
    which changes no sum; rows, columns and the two values are then shuffled.
    """
    inverted = rng.randrange(2)
    table = [[(row + column + inverted) % 2 for column in range(columns)] for row in range(rows)]
    if rows > 1 and columns > 1:
        for _ in range(10 * rows * columns):
            _exchange(table, rng)
    rng.shuffle(table)
    order = list(range(columns))
    rng.shuffle(order)
    return [[line[column] for column in order] for line in table]


def _exchange(table: list[list[int]], rng: random.Random) -> None:
    upper, lower = rng.sample(range(len(table)), 2)
    left, right = rng.sample(range(len(table[0])), 2)
    a, b = table[upper], table[lower]
    if a[left] == b[right] and a[right] == b[left] and a[left] != a[right]:
        a[left], a[right], b[left], b[right] = a[right], a[left], b[right], b[left]


def _pair(
    numbers: tuple[int, int],
    cell: tuple[int, Boundary],
    first_arm: int,
    stacks: tuple[Stack, Stack],
    where: tuple[Part, tuple[int, int]],
) -> PlannedPair:
    part, places = where
    arms = (first_arm, 1 - first_arm)
    first, second = (
        replace(_trial(numbers, position, cell, (arm, stacks)), part=part, place=places[position])
        for position, arm in enumerate(arms)
    )
    return PlannedPair(*numbers, cell[0], (first, second))


def _trial(
    numbers: tuple[int, int], position: int, cell: tuple[int, Boundary], side: tuple[int, tuple[Stack, Stack]]
) -> PlannedTrial:
    (block, pair), (n, boundary), (arm, stacks) = numbers, cell, side
    way = route(stacks[arm], boundary)
    name = way.name if stacks[0] != stacks[1] else f"{way.name}-{'ab'[arm]}"
    trial_id = f"b{block:02d}-p{pair:04d}-{name}-n{n:03d}"
    return PlannedTrial(trial_id, block, pair, position, arm, name, way.stack, n, way.boundary)
