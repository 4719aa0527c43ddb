"""The injected delay: a known truth that a plan puts into its second arm."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.campaign import read_records
from harness.clients.stages import Board, StartLine
from harness.errors import UsageError
from harness.plan import load_preset
from harness.records import Sample, Stack, Trial
from tests.harness.program import Program

MS = 1_000_000
DELAY_MS = 20.0


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:  # short: there are sockets in it
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()


def test_both_presets_are_openssl_against_itself_and_differ_in_the_delay_only() -> None:
    aa, inject = load_preset("aa"), load_preset("inject")
    assert aa.stacks == inject.stacks == (Stack.OPENSSL, Stack.OPENSSL)
    assert (aa.inject_ms_per_process, inject.inject_ms_per_process) == (0.0, 0.25)
    changes = {"preset": "aa", "inject_ms_per_process": 0.0}
    assert inject.model_copy(update=changes) == aa


def test_the_delay_is_of_the_second_arm_and_grows_with_n() -> None:
    plan = load_preset("inject")
    assert [plan.held_back_ns(1, n) for n in (1, 40, 100)] == [MS // 4, 10 * MS, 25 * MS]
    assert plan.held_back_ns(0, 100) == 0


def test_a_plan_with_a_delay_has_a_hash_of_its_own_and_one_without_keeps_the_recorded_one() -> None:
    smoke = load_preset("smoke")
    assert load_preset("smoke", {"inject_ms_per_process": 0.0}).sha256 == smoke.sha256
    assert load_preset("smoke", {"inject_ms_per_process": 0.1}).sha256 != smoke.sha256


def test_a_delay_is_not_negative() -> None:
    with pytest.raises(UsageError, match="inject_ms_per_process"):
        load_preset("inject", {"inject_ms_per_process": -0.25})


def test_the_start_line_is_so_much_later() -> None:
    board = Board(1)
    seen_ns = StartLine().run(board, 0, 5 * MS)  # the release is long past
    assert seen_ns > 5 * MS
    board.release_ns = seen_ns
    assert StartLine().run(board, 0, 5 * MS) >= seen_ns + 5 * MS
    board.close()


@pytest.mark.system
def test_clients_of_the_second_arm_begin_later_and_the_clock_does_not(harness: Program) -> None:
    ended = harness.run(
        "--set", 'stacks=["openssl", "openssl"]', "--set", f"inject_ms_per_process={DELAY_MS}", levels="[1, 3]"
    )  # fmt: skip
    assert ended.code == 0, ended.said
    content = json.loads((harness.campaign / "plan.json").read_text())
    assert content["plan"]["inject_ms_per_process"] == content["manifest"]["inject_ms_per_process"] == DELAY_MS
    trials = {trial.trial_id: trial for trial in read_records(harness.campaign / "trials.jsonl", Trial)}
    for sample in read_records(harness.campaign / "samples.jsonl", Sample):
        trial = trials[sample.trial_id]
        held_back_ns = DELAY_MS * MS * trial.n if trial.arm == 1 else 0
        assert sample.released_offset_ns is not None
        assert trial.elapsed_ns is not None
        assert held_back_ns <= sample.released_offset_ns <= trial.elapsed_ns
