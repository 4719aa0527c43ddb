import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ledger import Ledger
from harness.order import PlannedPair, make_order
from harness.records import Stack

BOTH = (Stack.OPENSSL, Stack.SSA)
Run = list[tuple[str, int, bool]]


def order_of(levels: int, blocks: int) -> tuple[PlannedPair, ...]:
    return make_order(range(1, levels + 1), blocks, BOTH, random.Random(7))


def run_all(order: tuple[PlannedPair, ...], outcomes: random.Random, failing: float, attempts: int) -> Run:
    ledger, done = Ledger(order, attempts), []
    while (due := ledger.next()) is not None:
        planned, attempt = due
        ok = outcomes.random() >= failing
        ledger.record(planned.trial_id, attempt, ok=ok)
        done.append((planned.trial_id, attempt, ok))
    return done


def test_without_failures_the_order_is_the_plans() -> None:
    order = order_of(4, 3)
    done = run_all(order, random.Random(0), 0.0, 3)
    assert done == [(trial.trial_id, 1, True) for pair in order for trial in pair.trials]


def test_a_failed_first_trial_repeats_the_pair_at_the_end_of_its_block() -> None:
    order = order_of(3, 2)
    ledger = Ledger(order, 3)
    failed = order[0].trials[0]
    ledger.record(failed.trial_id, 1, ok=False)
    for pair in order[1:3]:
        for trial in pair.trials:
            assert ledger.next() == (trial, 1)
            ledger.record(trial.trial_id, 1, ok=True)
    for trial in order[0].trials:
        assert ledger.next() == (trial, 2)
        ledger.record(trial.trial_id, 2, ok=True)
    assert ledger.next() == (order[3].trials[0], 1)


def test_a_failed_second_trial_repeats_both() -> None:
    order = order_of(1, 1)
    ledger = Ledger(order, 3)
    first, second = order[0].trials
    ledger.record(first.trial_id, 1, ok=True)
    ledger.record(second.trial_id, 1, ok=False)
    assert ledger.next() == (first, 2)
    assert ledger.complete_pairs == 0


def test_a_pair_that_always_fails_is_given_up() -> None:
    order = order_of(2, 1)
    ledger = Ledger(order, 2)
    for attempt in (1, 2):
        ledger.record(order[1].trials[0].trial_id, attempt, ok=False)
    assert ledger.given_up == (order[1],)
    assert {trial.pair for trial in ledger.remaining} == {order[0].pair}


@pytest.mark.parametrize(("attempt", "position"), [(2, 0), (1, 1)])
def test_what_was_not_due_is_refused(attempt: int, position: int) -> None:
    order = order_of(1, 1)
    with pytest.raises(ValueError, match="was not due"):
        Ledger(order, 3).record(order[0].trials[position].trial_id, attempt, ok=True)


def test_what_is_not_in_the_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the plan"):
        Ledger(order_of(1, 1), 3).record("b09-p0009-ssa-n009", 1, ok=True)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999), st.floats(0, 0.9), st.integers(1, 4))
def test_whatever_fails_every_pair_is_complete_once_or_given_up(
    levels: int, blocks: int, seed: int, failing: float, attempts: int
) -> None:
    order = order_of(levels, blocks)
    done = run_all(order, random.Random(seed), failing, attempts)
    assert len({(trial_id, attempt) for trial_id, attempt, _ in done}) == len(done)
    good = {(trial_id, attempt) for trial_id, attempt, ok in done if ok}
    for pair in order:
        complete = [
            attempt
            for attempt in range(1, attempts + 1)
            if all((trial.trial_id, attempt) in good for trial in pair.trials)
        ]
        tried = max(attempt for trial_id, attempt, _ in done if trial_id == pair.trials[0].trial_id)
        assert len(complete) == 1 or (not complete and tried == attempts)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999), st.floats(0, 0.9), st.data())
def test_resuming_anywhere_goes_on_exactly(
    levels: int, blocks: int, seed: int, failing: float, data: st.DataObject
) -> None:
    order = order_of(levels, blocks)
    done = run_all(order, random.Random(seed), failing, 3)
    stopped_at = data.draw(st.integers(0, len(done)))
    ledger = Ledger(order, 3)
    for trial_id, attempt, ok in done[:stopped_at]:
        ledger.record(trial_id, attempt, ok=ok)
    for trial_id, attempt, ok in done[stopped_at:]:
        due = ledger.next()
        assert due is not None
        assert (due[0].trial_id, due[1]) == (trial_id, attempt)
        ledger.record(trial_id, attempt, ok=ok)
    assert ledger.next() is None
