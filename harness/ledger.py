"""What has been run and what is next: a pure function of the planned order and the recorded trials.

The rule for failures: **a pair shares its conditions, so it is repeated as a pair.**  When either trial of a
pair is not ``ok``, the attempt is over (a second trial is not run for a first one that failed), and the whole
pair is tried again, as the next attempt, at the end of its block.  Every record stays.  The fit uses a pair's
trials from the one attempt in which both are ``ok``; an ``ok`` trial whose partner failed is kept and left
out.  Repeating one side only would put minutes, and whatever made the other side fail, between two numbers
whose difference is then taken.

Because the next trial depends on nothing but the records, a resumed campaign goes on exactly where it was: an
interrupt between the two trials of a pair is followed by the second one (nothing recorded is ever repeated;
``started_at`` tells such a pair).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.order import PlannedPair, PlannedTrial


@dataclass
class _State:
    attempt: int = 1
    done: int = 0  # trials of this attempt that are ok
    complete: bool = False


class Ledger:
    """Takes note of every recorded trial, and says which is next."""

    def __init__(self, order: Sequence[PlannedPair], max_attempts: int) -> None:
        self._order = order
        self._max_attempts = max_attempts
        self._states = {pair.pair: _State() for pair in order}
        self._planned = {trial.trial_id: trial for pair in order for trial in pair.trials}

    def record(self, trial_id: str, attempt: int, *, ok: bool) -> None:
        """A trial was recorded.  ValueError when it is not one that was due."""
        planned = self._planned.get(trial_id)
        if planned is None:
            raise ValueError(f"{trial_id} is not in the plan")
        state = self._states[planned.pair]
        if state.complete or (attempt, planned.position) != (state.attempt, state.done):
            raise ValueError(f"{trial_id}, attempt {attempt}, was not due")
        if not ok:
            state.attempt, state.done = state.attempt + 1, 0
            return
        state.done += 1
        state.complete = state.done == 2

    def next(self) -> tuple[PlannedTrial, int] | None:
        """The trial that is due and its attempt; None when everything is complete or given up."""
        due = self._due_pair()
        if due is None:
            return None
        state = self._states[due.pair]
        return due.trials[state.done], state.attempt

    def _due_pair(self) -> PlannedPair | None:
        open_pairs = list(self._open())
        if not open_pairs:
            return None
        block = min(pair.block for pair in open_pairs)
        in_block = [pair for pair in open_pairs if pair.block == block]
        return min(in_block, key=self._turn)

    def _turn(self, pair: PlannedPair) -> tuple[int, int]:
        state = self._states[pair.pair]
        return state.attempt, pair.trials[state.done].place

    def _open(self) -> Iterator[PlannedPair]:
        for pair in self._order:
            state = self._states[pair.pair]
            if not state.complete and state.attempt <= self._max_attempts:
                yield pair

    @property
    def blocks_done(self) -> int:
        """Blocks, from the first on, in which nothing is left to run."""
        last = max((pair.block for pair in self._order), default=-1)
        return min((pair.block for pair in self._open()), default=last + 1)

    @property
    def complete_pairs(self) -> int:
        """Pairs with an attempt in which both trials are ok."""
        return sum(state.complete for state in self._states.values())

    @property
    def given_up(self) -> tuple[PlannedPair, ...]:
        """Pairs that failed in every attempt."""
        return tuple(
            pair
            for pair in self._order
            if not self._states[pair.pair].complete and self._states[pair.pair].attempt > self._max_attempts
        )

    @property
    def remaining(self) -> tuple[PlannedTrial, ...]:
        """Trials still to run if nothing fails any more, in no particular order."""
        return tuple(trial for pair in self._open() for trial in pair.trials[self._states[pair.pair].done :])
