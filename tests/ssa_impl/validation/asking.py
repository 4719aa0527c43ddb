"""Asking one strategy, from a test that is not async."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import trio
import trio.testing

from ssa_impl.validation.model import Ballot, Case, Vote
from ssa_impl.validation.strategy import Strategy

T = TypeVar("T")


def made(kind: type[Strategy], **parameters: object) -> Strategy:
    """Return a strategy with its defaults filled in."""
    values, problems = kind.read(parameters)
    assert problems == []
    return kind(values)


def problems(kind: type[Strategy], table: Mapping[str, object]) -> list[str]:
    """Return what is wrong with parameters, in words."""
    return [problem.text for problem in kind.read(table)[1]]


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run under a clock that jumps over waiting."""

    async def bounded() -> T:
        with trio.fail_after(1_000_000):
            return await main()

    return trio.run(bounded, clock=trio.testing.MockClock(autojump_threshold=0.5))


def ask(strategy: Strategy, case: Case) -> Ballot:
    """Return a strategy's ballot."""

    async def main() -> Ballot:
        return await strategy.judge(case)

    return run(main)


def vote(strategy: Strategy, case: Case) -> Vote:
    """Return a strategy's vote."""
    return ask(strategy, case).vote
