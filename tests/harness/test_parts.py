"""Campaigns of several links and profiles: the order of their parts, and a real one of every profile."""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from harness.campaign import read_records
from harness.errors import UsageError
from harness.ledger import Ledger
from harness.memory import left_in
from harness.order import Part, in_turn, make_order
from harness.plan import build
from harness.records import Outcome, Profile, Sample, Stack, Trial
from tests.harness.program import Program

STACKS = (Stack.OPENSSL, Stack.SSA)
PARTS = [Part(link, profile) for link in ("lan", "wan") for profile in Profile]


def test_each_block_passes_over_each_part_as_a_whole() -> None:
    order = make_order([1, 2, 3], 4, STACKS, random.Random(1), parts=PARTS)
    trials = in_turn(order)
    assert [trial.place for trial in trials] == list(range(2 * 3 * 4 * len(PARTS)))
    passes = [(key, len(list(group))) for key, group in groupby(trials, key=lambda trial: (trial.block, trial.part))]
    assert {size for _, size in passes} == {6}
    assert Counter(key for key, _ in passes) == Counter((block, part) for block in range(4) for part in PARTS)
    assert len({tuple(part for (at, part), _ in passes if at == block) for block in range(4)}) > 1


def test_one_sound_part_has_the_order_that_recorded_campaigns_have() -> None:
    alone = make_order([1, 5, 9], 3, STACKS, random.Random(7), parts=[Part("lan")])
    before = make_order([1, 5, 9], 3, STACKS, random.Random(7))
    assert [trial.trial_id for trial in in_turn(alone)] == [trial.trial_id for pair in before for trial in pair.trials]


def test_the_published_order_is_all_of_the_ssa_and_then_all_of_openssl() -> None:
    order = make_order([1, 2, 3], 2, STACKS, random.Random(1), parts=[Part("lan", Profile.PAPER_2018)])
    block = [(trial.stack, trial.n) for trial in in_turn(order)][:6]
    assert block == [(stack, n) for stack in (Stack.SSA, Stack.OPENSSL) for n in (1, 2, 3)]
    ledger = Ledger(order, 2)
    ran = []
    while (due := ledger.next()) is not None:
        trial, attempt = due
        ran.append((trial.block, trial.stack.value, trial.n))
        ledger.record(trial.trial_id, attempt, ok=(trial.stack, trial.n, attempt) != (Stack.OPENSSL, 2, 1))
    repeated = [(0, "ssa", 2), (0, "openssl", 2)]
    assert ran[:8] == [(0, stack, n) for stack in ("ssa", "openssl") for n in (1, 2, 3)] + repeated
    assert not ledger.given_up


@pytest.mark.parametrize(("one", "several"), [("link", "links"), ("profile", "profiles")])
def test_one_and_several_do_not_go_together(one: str, several: str) -> None:
    value = {"link": "lan", "profile": "transfer"}[one]
    with pytest.raises(UsageError, match=f"{several}: stands beside {one}"):
        build({"levels": [1], "blocks": 1, one: value, several: [value]}, {}, "test")


def test_what_a_control_group_leaves(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\nactive_file 100\n")
    assert left_in(tmp_path) == 400
    (tmp_path / "memory.max").write_text("max\n")
    assert left_in(tmp_path) is None


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()


@pytest.mark.system
def test_every_profile_in_one_campaign(harness: Program) -> None:
    profiles = json.dumps([profile.value for profile in Profile])
    ended = harness.run("--set", f"profiles={profiles}", blocks=1)
    assert ended.code == 0, ended.said
    assert harness.nothing_is_left()
    held = harness("check", str(harness.campaign))
    assert (held.code, held.sentence.startswith(f"{harness.campaign} holds.")) == (0, True)
    trials = {trial.trial_id: trial for trial in read_records(harness.campaign / "trials.jsonl", Trial)}
    assert {trial.outcome for trial in trials.values()} == {Outcome.OK}
    assert Counter(trial.profile for trial in trials.values()) == dict.fromkeys(Profile, 4)
    assert {trial.read_size_bytes == 1024 for trial in trials.values() if trial.profile is Profile.PAPER_2018} == {True}
    for sample in read_records(harness.campaign / "samples.jsonl", Sample):
        trial = trials[sample.trial_id]
        is_openssl, profile = trial.stack is Stack.OPENSSL, trial.profile
        assert (sample.tcp_offset_ns is not None) == (is_openssl and profile in {Profile.SOUND, Profile.COLD_START})
        inside = profile in {Profile.SOUND, Profile.COLD_START} or (is_openssl and profile is Profile.PAPER_2018)
        assert (sample.tls_offset_ns is not None) == inside
