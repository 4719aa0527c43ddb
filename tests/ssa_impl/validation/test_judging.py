"""Asking all strategies at once: whatever one of them does, the others are heard and the count is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
import trio

from ssa_impl.validation import registry
from ssa_impl.validation.judging import judge
from ssa_impl.validation.model import Ballot, Case, Choice, Count, Validation, Verdict, Vote
from ssa_impl.validation.registry import installed
from ssa_impl.validation.strategies import BUILT_IN
from ssa_impl.validation.strategy import Strategy, accept
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.asking import run


class Faulty(Strategy):
    name: ClassVar[str] = "faulty"
    summary: ClassVar[str] = ""

    async def judge(self, case: Case) -> Ballot:
        raise RuntimeError("a defect")


class Slow(Faulty):
    async def judge(self, case: Case) -> Ballot:
        await trio.sleep(1_000)
        return accept("late")


class Silent(Faulty):
    async def judge(self, case: Case) -> Ballot:
        return None  # type: ignore[return-value]


class Unmakeable(Faulty):
    def __init__(self, parameters: Mapping[str, Any]) -> None:
        raise ValueError("a defect")


class Agreeing(Faulty):
    async def judge(self, case: Case) -> Ballot:
        return accept("why not")


class Forgetful(Agreeing):
    async def confirm(self, case: Case) -> Ballot | None:
        raise OSError("the disk is full")


PLUGINS = {"faulty": Faulty, "slow": Slow, "silent": Silent, "unmakeable": Unmakeable, "agreeing": Agreeing,
           "forgetful": Forgetful}  # fmt: skip


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "installed", lambda: PLUGINS)
    registry.strategy_for.cache_clear()
    yield
    registry.strategy_for.cache_clear()


def verdict(necessary: list[str], voting: list[str] | None = None, percent: int = 50) -> Verdict:
    def chosen(names: list[str]) -> tuple[Choice, ...]:
        return tuple(Choice(name, name, timeout_s=2) for name in names)

    validation = Validation(chosen(necessary), chosen(voting or []), percent)

    async def main() -> Verdict:
        return await judge(validation, pki.case(pki.leaf()))

    return run(main)


@pytest.mark.parametrize(
    ("name", "vote"),
    [("faulty", Vote.ERROR), ("silent", Vote.ERROR), ("unmakeable", Vote.ERROR), ("slow", Vote.TIMEOUT),
     ("not there", Vote.ERROR), ("forgetful", Vote.ERROR), ("agreeing", Vote.ACCEPT)],
)  # fmt: skip
def test_whatever_one_does_is_a_vote(name: str, vote: Vote) -> None:
    alone = verdict([name])
    assert alone.votes[0].ballot.vote is vote
    assert alone.accepted is (vote is Vote.ACCEPT)
    assert verdict(["agreeing"], [name, "agreeing"], 50).accepted
    assert verdict(["agreeing"], [name, "agreeing"], 51).accepted is (vote is Vote.ACCEPT)


def test_the_log_says_what_failed(caplog: pytest.LogCaptureFixture) -> None:
    verdict(["faulty"])
    assert "the validation strategy faulty failed; its vote is an error" in caplog.text


def test_our_own_names_are_ours() -> None:
    found = installed()
    assert {name: found[name] for name in BUILT_IN} == BUILT_IN


def test_counts_are_the_administrators() -> None:
    lenient = Choice("faulty", "faulty", error=Count.ACCEPT)

    async def main() -> Verdict:
        return await judge(Validation(necessary=(lenient,)), pki.case(pki.leaf()))

    made = run(main)
    assert made.accepted
    assert made.votes[0].describe() == "faulty (necessary): error counted as accept, it failed with RuntimeError"
