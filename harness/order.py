"""The order of trials: randomised complete blocks, pairs back to back, balanced coin flips.

Pure; randomness is an argument.

A *block* is one complete pass through all cells in a random order; a cell is a value of n and, where the
plan has several, a boundary of the SSA.  A *pair* is both arms of one cell in one block, one right after the
other, so that slow drift of the machine hits both alike.  Which arm goes first is a coin flip, balanced
twice: within each block, and for each cell over the blocks, as many pairs begin with one arm as with the
other (or one more, where the number is odd).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.records import Boundary, Stack
from harness.routes import Route, route


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

    @property
    def route(self) -> Route:
        """How its clients reach TLS."""
        return Route(self.stack, self.boundary)


@dataclass(frozen=True)
class PlannedPair:
    """Both arms of one cell in one block, in the order in which they run."""

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
) -> tuple[PlannedPair, ...]:
    """Every pair of the campaign in the order of execution; the same ``rng`` state gives the same order."""
    cells = [(n, boundary) for boundary in boundaries for n in levels]
    flips = balanced_flips(len(cells), blocks, rng)
    order: list[PlannedPair] = []
    for block in range(blocks):
        columns = list(range(len(cells)))
        rng.shuffle(columns)
        for column in columns:
            order.append(_pair((block, len(order)), cells[column], flips[column][block], stacks))
    return tuple(order)


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
    place: tuple[int, int], cell: tuple[int, Boundary], first_arm: int, stacks: tuple[Stack, Stack]
) -> PlannedPair:
    arms = (first_arm, 1 - first_arm)
    first, second = (_trial(place, position, cell, (arm, stacks)) for position, arm in enumerate(arms))
    return PlannedPair(*place, cell[0], (first, second))


def _trial(
    place: tuple[int, int], position: int, cell: tuple[int, Boundary], side: tuple[int, tuple[Stack, Stack]]
) -> PlannedTrial:
    (block, pair), (n, boundary), (arm, stacks) = place, cell, side
    way = route(stacks[arm], boundary)
    name = way.name if stacks[0] != stacks[1] else f"{way.name}-{'ab'[arm]}"
    trial_id = f"b{block:02d}-p{pair:04d}-{name}-n{n:03d}"
    return PlannedTrial(trial_id, block, pair, position, arm, name, way.stack, n, way.boundary)
