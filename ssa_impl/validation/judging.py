"""Asking all strategies at once, each within its own time, and counting what they say."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from .model import Ballot, Case, Choice, Validation, Verdict, Vote
from .registry import strategy_for
from .strategy import Strategy
from .votes import decide

_log = logging.getLogger("ssad")


async def judge(validation: Validation, case: Case) -> Verdict:
    """Return the verdict on one peer; takes as long as the slowest strategy, at most twice its ``timeout_s``.

    Nothing that a strategy does or fails to do leaves here as an exception: it is an error vote.
    """
    ballots: dict[Choice, Ballot] = {}
    await _ask_all(validation, case, ballots, _judge)
    verdict = decide(validation, ballots)
    if verdict.accepted:
        await _ask_all(validation, case, ballots, _confirm)
        verdict = decide(validation, ballots)
    return verdict


Ask = Callable[[Strategy, Case], Awaitable[Ballot | None]]


async def _judge(strategy: Strategy, case: Case) -> Ballot | None:
    ballot = await strategy.judge(case)
    if not isinstance(ballot, Ballot):
        raise TypeError(f"judge() returned {type(ballot).__name__}, not a Ballot")
    return ballot


async def _confirm(strategy: Strategy, case: Case) -> Ballot | None:
    return await strategy.confirm(case)


async def _ask_all(validation: Validation, case: Case, ballots: dict[Choice, Ballot], ask: Ask) -> None:
    async with trio.open_nursery() as nursery:
        for choice in validation.choices():
            nursery.start_soon(_ask, choice, case, ballots, ask)


async def _ask(choice: Choice, case: Case, ballots: dict[Choice, Ballot], ask: Ask) -> None:
    try:
        with trio.move_on_after(choice.timeout_s) as patience:
            if (ballot := await ask(strategy_for(choice), case)) is not None:
                ballots[choice] = ballot
        if patience.cancelled_caught:
            ballots[choice] = Ballot(Vote.TIMEOUT, f"no answer within {choice.timeout_s:g} s")
    except Exception as error:
        _log.exception("the validation strategy %s failed; its vote is an error", choice.name)
        ballots[choice] = Ballot(Vote.ERROR, f"it failed with {type(error).__name__}")
