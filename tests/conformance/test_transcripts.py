"""The judge is just: it sees what differs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.behaviour import Behaviour, Column, Deviation
from tests.conformance.transcripts import Entry, disagreements, surprises


def nothing(_world: object) -> Iterator[tuple[Any, ...]]:
    yield from ()


ROW = Behaviour("a", "A sentence.", "2", nothing, "connecting")
DEVIANT = replace(ROW, deviations=(Deviation("seccomp", "b", 3, "a reason"),))
SECCOMP, PRELOAD = Column("seccomp", 0x0304), Column("preload", 0x0304)
PLAIN = Column("plain", None)


def test_what_is_expected_is_no_surprise() -> None:
    assert surprises(ROW, SECCOMP, [Entry("a", 1, 1), Entry("b", "whatever")]) == []


def test_what_is_not_expected_is_one() -> None:
    assert surprises(ROW, SECCOMP, [Entry("a", 2, 1)]) == ["a: 2, expected 1"]


def test_a_deviation_is_held_to_its_value() -> None:
    assert surprises(DEVIANT, SECCOMP, [Entry("b", 3, 2)]) == []
    assert surprises(DEVIANT, SECCOMP, [Entry("b", 2, 2)]) == ["b: 2, expected 3"]
    assert surprises(DEVIANT, PRELOAD, [Entry("b", 3, 2)]) == ["b: 3, expected 2"]


def test_a_deviation_must_be_seen_and_must_be_one() -> None:
    assert surprises(DEVIANT, SECCOMP, []) == ["b: not seen at all"]
    assert surprises(DEVIANT, SECCOMP, [Entry("b", 3, 3)]) == ["b: a deviation that is none"]


@pytest.mark.parametrize("saw", [["a"], ["a", 1, 2, 3]])
def test_an_entry_has_two_or_three_parts(saw: list[Any]) -> None:
    with pytest.raises(AssertionError):
        Entry.read(saw)


def test_boundaries_must_say_the_same() -> None:
    runs = {SECCOMP: [Entry("a", 1)], PRELOAD: [Entry("a", 2)]}
    assert disagreements(ROW, runs) == ["a: seccomp-1.3 1, preload-1.3 2"]
    assert disagreements(ROW, {SECCOMP: [Entry("a", 1)], PRELOAD: [Entry("a", 1)]}) == []


def test_boundaries_must_have_the_same_entries() -> None:
    runs = {SECCOMP: [Entry("a", 1)], PRELOAD: [Entry("a", 1), Entry("c", 1)]}
    assert disagreements(ROW, runs) == ["seccomp-1.3 and preload-1.3 have other entries: ['c']"]


def test_plain_tcp_may_say_less_but_nothing_else() -> None:
    assert disagreements(ROW, {PLAIN: [Entry("a", 1)], SECCOMP: [Entry("a", 1), Entry("c", 1)]}) == []
    assert disagreements(ROW, {PLAIN: [Entry("a", 2)], SECCOMP: [Entry("a", 1)]}) == ["a: plain 2, seccomp-1.3 1"]


def test_other_versions_may_say_other_things() -> None:
    assert disagreements(ROW, {SECCOMP: [Entry("a", 1)], Column("seccomp", 0x0303): [Entry("a", 2)]}) == []


def test_known_deviations_are_no_disagreement() -> None:
    assert disagreements(DEVIANT, {SECCOMP: [Entry("b", 3, 2)], PRELOAD: [Entry("b", 2, 2)]}) == []
