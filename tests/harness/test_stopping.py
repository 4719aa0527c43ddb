"""Campaigns that may end early: the rule, the looks between blocks, and what may happen to them."""

import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from harness import stopping
from harness.campaign import read_looks, read_records
from harness.errors import HarnessError, UsageError
from harness.plan import Plan, build, load_preset
from harness.records import LOOKS, Boundary, HalfWidth, Link, Look, Profile, Stopping, Trial
from harness.runner import order_of
from tests.harness.program import Program

RULE = Stopping(half_width_ms=0.1, min_blocks=10, look_every=3)
WIDE, NARROW = 900.0, 1e-9


@pytest.fixture
def plan() -> Plan:
    fields = {"levels": [1, 2], "blocks": 20, "stopping": {"half_width_ms": 0.1, "look_every": 3}}
    return build(fields, {}, "test")


def a_look(blocks: int, *widths: float | None, stop: bool = False) -> Look:
    found = tuple(
        HalfWidth(link=Link.LAN, profile=Profile.SOUND, boundary=Boundary.SECCOMP, ms=width) for width in widths
    )
    return Look(blocks=blocks, trials=4 * blocks, looked_at="", took_ns=1, half_widths=found, stop=stop)


def test_looks_begin_at_the_least_number_of_blocks_and_leave_out_the_last() -> None:
    assert list(RULE.looks(20)) == [10, 13, 16, 19]
    assert list(RULE.looks(19)) == [10, 13, 16]
    assert list(RULE.looks(10)) == []


@pytest.mark.parametrize(
    ("widths", "reached"),
    [((0.1, 0.05), True), ((0.1, 0.11), False), ((0.1, None), False), ((float("nan"),), False)],
)
def test_every_part_must_be_narrow_enough(widths: tuple[float | None, ...], reached: bool) -> None:
    assert RULE.is_reached(widths) is reached


def test_a_look_is_due_once_and_only_between_blocks(plan: Plan) -> None:
    assert [blocks for blocks in range(21) if stopping.is_due(plan, [], blocks)] == [10, 13, 16, 19]
    assert not stopping.is_due(plan, [a_look(10, 0.2)], 10)
    assert stopping.is_due(plan, [a_look(10, 0.2)], 13)
    assert not stopping.is_due(plan.model_copy(update={"stopping": None}), [], 10)


def test_a_plan_without_a_rule_keeps_its_hash_and_one_with_it_keeps_the_order(plan: Plan) -> None:
    recorded = json.loads((Path(__file__).parents[2] / "results" / "reference" / "plan.json").read_text())
    assert Plan.model_validate(recorded["plan"]).sha256 == recorded["manifest"]["plan_sha256"]
    without = plan.model_copy(update={"stopping": None})
    assert without.sha256 != plan.sha256
    assert order_of(without) == order_of(plan)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"stopping.half_width_ms": 0}, "stopping.half_width_ms: must be greater than 0"),
        ({"stopping.half_width_ms": float("nan")}, "stopping.half_width_ms: must be"),
        ({"stopping.half_width_ms": float("inf")}, "stopping.half_width_ms: must be less than or equal to 1000"),
        (
            {"stopping.half_width_ms": 0.1, "stopping.min_blocks": 9},
            "stopping.min_blocks: must be greater than or equal",
        ),
        (
            {"stopping.half_width_ms": 0.1, "stopping.look_every": 0},
            "stopping.look_every: must be greater than or equal",
        ),
        ({"stopping.half_width_ms": 0.1, "blocks": 10}, "so there is no look; raise blocks"),
        ({"stopping.half_width_ms": 0.1, "judgement.min_blocks": 12}, "judgement.min_blocks demands 12"),
        ({"stopping.half_width_ms": 0.1, "stopping.p": 0.05}, "stopping.p: there is no such field"),
        ({"stopping.look_every": 1}, "stopping.half_width_ms: is missing"),
        ({"stopping": 0.1}, "stopping: must be"),
    ],
)
def test_a_rule_that_cannot_be_is_one_sentence(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_preset("standard", {"blocks": 40, **changes})
    assert complaint in str(raised.value)
    assert "one error" in str(raised.value)


def test_the_analysis_that_cannot_look_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"cannot look at .* \(exit code 2\); it said: .*plan.json"):
        trio.run(stopping.half_widths, tmp_path, 0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign that ended at its first look."""
    maker = Program(tmp_path_factory.mktemp("recorded"), tmp_path_factory.mktemp("temporary"))
    ended = run(maker, WIDE)
    assert ended.code == 0, ended.said
    assert "at most 56 trials" in ended.sentence
    assert "s or less left" in ended.sentence
    assert "the campaign ends here, after 10 of at most 14 blocks" in ended.sentence
    return maker.campaign


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()


@pytest.fixture
def finished(recorded: Path, harness: Program) -> Path:
    shutil.copytree(recorded, harness.out / recorded.name)
    return harness.campaign


def arguments(program: Program, half_width_ms: float, blocks: int) -> list[str]:
    rule = ("--set", f"stopping.half_width_ms={half_width_ms}")
    return program.run_arguments("--set", 'stacks=["openssl", "openssl"]', *rule, blocks=blocks)


def run(program: Program, half_width_ms: float, blocks: int = 14) -> Any:
    return program(*arguments(program, half_width_ms, blocks))


def change(path: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    edit(records)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.mark.system
def test_a_campaign_ends_at_a_look_and_holds(finished: Path, harness: Program) -> None:
    held = harness("check", str(finished))
    assert (held.code, held.sentence.startswith(f"{finished} holds.")) == (0, True)
    (look,) = read_looks(finished)
    trials = list(read_records(finished / "trials.jsonl", Trial))
    assert (look.blocks, look.trials, look.stop) == (10, 40, True)
    assert max(trial.started_at for trial in trials) < look.looked_at
    again = harness("resume", str(finished), "--no-analysis")
    assert (again.code, "Nothing is left to run." in again.sentence) == (0, True)
    assert len(list(read_records(finished / "trials.jsonl", Trial))) == 40


@pytest.mark.system
def test_a_look_that_was_interrupted_is_taken_again(finished: Path, harness: Program) -> None:
    before, whole = (finished / "trials.jsonl").read_bytes(), (finished / LOOKS).read_text()
    (finished / LOOKS).write_text(whole[:50])
    incomplete = harness("check", str(finished))
    assert (incomplete.code, "The campaign is not complete: 40 of 56 trials" in incomplete.sentence) == (2, True)
    assert harness("resume", str(finished), "--no-analysis").code == 0
    assert (finished / "trials.jsonl").read_bytes() == before
    (look,) = read_looks(finished)
    assert look.half_widths == Look.model_validate_json(whole).half_widths
    assert harness("check", str(finished)).code == 0


@pytest.mark.system
def test_a_campaign_that_is_not_narrow_enough_goes_on_also_across_an_interruption(harness: Program) -> None:
    with harness.started(*arguments(harness, NARROW, blocks=12)) as running:
        running.until("Look after 10 blocks")
        running.signal(signal.SIGTERM)
        assert running.end().code == 128 + signal.SIGTERM
    first = (harness.campaign / LOOKS).read_bytes()
    assert harness("resume", str(harness.campaign), "--no-analysis").code == 0
    assert (harness.campaign / LOOKS).read_bytes() == first
    assert [look.stop for look in read_looks(harness.campaign)] == [False]
    assert len(list(read_records(harness.campaign / "trials.jsonl", Trial))) == 48
    assert harness("check", str(harness.campaign)).code == 0
    assert harness.nothing_is_left()


@pytest.mark.system
@pytest.mark.parametrize(
    ("name", "edit", "finding"),
    [
        (
            LOOKS,
            lambda looks: looks[0].update(blocks=12),
            "has looks after 12 blocks, and by the plan they are after 10",
        ),
        (LOOKS, lambda looks: looks[0].update(stop=False), "did not decide by the plan's rule"),
        (LOOKS, lambda looks: looks[0].update(trials=39), "does not stand between two blocks"),
        (LOOKS, lambda looks: looks[0]["half_widths"][0].update(ms=901.0), "did not decide by the plan's rule"),
        (LOOKS, lambda looks: looks[0].pop("stop"), "line 1, is not a look: stop: Field required"),
        (LOOKS, lambda looks: looks.append(looks[0]), "has looks after 10, 10 blocks"),
        ("trials.jsonl", lambda trials: trials.pop(), "The campaign is not complete: 39 of 56 trials"),
    ],
)
def test_check_finds(
    name: str, edit: Callable[[list[dict[str, Any]]], object], finding: str, finished: Path, harness: Program
) -> None:
    change(finished / name, edit)
    ended = harness("check", str(finished))
    assert (ended.code, finding in ended.sentence) == (2, True), ended.said


def test_trials_behind_the_end_are_refused(plan: Plan) -> None:
    order = order_of(plan)
    trials: list[Any] = [trial for pair in order for trial in pair.trials if trial.block < 11]
    looks = [a_look(10, 0.1, stop=True)]
    assert list(stopping.objections(plan, looks, trials)) == [
        f"{LOOKS}: the campaign went on after 10 blocks, where a look had ended it."
    ]
    assert list(stopping.objections(plan, looks, [trial for trial in trials if trial.block < 10])) == []
    assert list(stopping.objections(plan, [], trials)) == [
        f"{LOOKS}: has looks after no blocks, and by the plan they are after 10."
    ]
