import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from harness.order import balanced_flips, make_order
from harness.records import Boundary, Stack
from harness.routes import Route, routes

BOTH = (Stack.OPENSSL, Stack.SSA)
A_A = (Stack.OPENSSL, Stack.OPENSSL)
LEVELS = st.lists(st.integers(1, 200), min_size=1, max_size=20, unique=True).map(sorted)
BLOCKS = st.integers(1, 12)
SEEDS = st.integers(0, 2**63 - 1)


@given(st.integers(1, 30), st.integers(1, 15), SEEDS)
def test_flips_are_balanced_in_rows_and_columns(rows: int, columns: int, seed: int) -> None:
    table = balanced_flips(rows, columns, random.Random(seed))
    assert len(table) == rows
    for line in table:
        assert abs(2 * sum(line) - columns) <= columns % 2
    for column in zip(*table, strict=True):
        assert abs(2 * sum(column) - rows) <= rows % 2


@given(LEVELS, BLOCKS, SEEDS, st.sampled_from([BOTH, A_A]))
def test_every_block_is_complete_and_pairs_are_adjacent(
    levels: list[int], blocks: int, seed: int, stacks: tuple[Stack, Stack]
) -> None:
    order = make_order(levels, blocks, stacks, random.Random(seed))
    assert [pair.pair for pair in order] == list(range(len(levels) * blocks))
    for block in range(blocks):
        pairs = [pair for pair in order if pair.block == block]
        assert pairs == list(order[block * len(levels) : (block + 1) * len(levels)])
        assert sorted(pair.n for pair in pairs) == levels
    for pair in order:
        assert sorted(trial.arm for trial in pair.trials) == [0, 1]
        assert [trial.position for trial in pair.trials] == [0, 1]
        assert [trial.stack for trial in pair.trials] == [stacks[trial.arm] for trial in pair.trials]
        assert {(trial.n, trial.block, trial.pair) for trial in pair.trials} == {(pair.n, pair.block, pair.pair)}


@given(LEVELS, BLOCKS, SEEDS, st.sampled_from([BOTH, A_A]))
def test_trial_ids_are_unique(levels: list[int], blocks: int, seed: int, stacks: tuple[Stack, Stack]) -> None:
    order = make_order(levels, blocks, stacks, random.Random(seed))
    ids = [trial.trial_id for pair in order for trial in pair.trials]
    assert len(set(ids)) == 2 * len(levels) * blocks


@given(LEVELS, BLOCKS, SEEDS)
def test_the_first_arm_is_balanced_within_blocks_and_for_each_n(levels: list[int], blocks: int, seed: int) -> None:
    order = make_order(levels, blocks, BOTH, random.Random(seed))
    in_block = Counter(pair.block for pair in order if pair.trials[0].arm == 1)
    assert all(abs(2 * in_block[block] - len(levels)) <= len(levels) % 2 for block in range(blocks))
    for_n = Counter(pair.n for pair in order if pair.trials[0].arm == 1)
    assert all(abs(2 * for_n[n] - blocks) <= blocks % 2 for n in levels)


@given(LEVELS, BLOCKS, SEEDS)
def test_the_same_seed_gives_the_same_order(levels: list[int], blocks: int, seed: int) -> None:
    orders = [make_order(levels, blocks, BOTH, random.Random(seed)) for _ in range(2)]
    assert orders[0] == orders[1]


def test_the_order_of_a_seed_never_changes() -> None:
    order = make_order([1, 5, 20], 2, BOTH, random.Random(1))
    assert [trial.trial_id for pair in order for trial in pair.trials][:4] == [
        "b00-p0000-openssl-n020",
        "b00-p0000-ssa-n020",
        "b00-p0001-ssa-n005",
        "b00-p0001-openssl-n005",
    ]


@given(LEVELS, BLOCKS, SEEDS)
def test_every_block_has_each_n_at_each_boundary(levels: list[int], blocks: int, seed: int) -> None:
    order = make_order(levels, blocks, BOTH, random.Random(seed), tuple(Boundary))
    ids = [trial.trial_id for pair in order for trial in pair.trials]
    assert len(set(ids)) == len(ids) == 4 * len(levels) * blocks
    for block in range(blocks):
        cells = [(pair.n, trial.boundary) for pair in order for trial in pair.trials if pair.block == block]
        assert Counter(cells) == Counter(
            {**{(n, boundary): 1 for n in levels for boundary in Boundary}, **{(n, None): 2 for n in levels}}
        )
    for pair in order:
        assert [trial.boundary is None for trial in pair.trials] == [
            trial.stack is Stack.OPENSSL for trial in pair.trials
        ]


def test_the_usual_boundary_is_not_named() -> None:
    order = make_order([7], 1, BOTH, random.Random(1), (Boundary.PRELOAD,))
    assert {trial.name for trial in order[0].trials} == {"openssl", "ssa-preload"}
    a_a = make_order([7], 1, (Stack.SSA, Stack.SSA), random.Random(1), tuple(Boundary))
    names = {trial.name for pair in a_a for trial in pair.trials}
    assert names == {"ssa-a", "ssa-b", "ssa-preload-a", "ssa-preload-b"}


def test_every_route_is_needed_once() -> None:
    openssl, seccomp, preload = (
        Route(Stack.OPENSSL),
        Route(Stack.SSA, Boundary.SECCOMP),
        Route(Stack.SSA, Boundary.PRELOAD),
    )
    assert routes(BOTH, tuple(Boundary)) == (openssl, seccomp, preload)
    assert routes((Stack.SSA, Stack.OPENSSL), (Boundary.PRELOAD,)) == (preload, openssl)
    assert routes(A_A, tuple(Boundary)) == (openssl,)
    assert [route.name for route in (openssl, seccomp, preload)] == ["openssl", "ssa", "ssa-preload"]


def test_seeds_differ() -> None:
    orders = {make_order(range(1, 11), 4, BOTH, random.Random(seed)) for seed in range(20)}
    assert len(orders) == 20


def test_flips_are_not_always_the_chequerboard() -> None:
    tables = {str(balanced_flips(6, 6, random.Random(seed))) for seed in range(50)}
    assert len(tables) > 40
