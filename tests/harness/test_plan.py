import json
import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.forecast import campaign_s
from harness.plan import PRESETS, Plan, build, load_file, load_preset, names, parse_changes
from harness.recording import claims
from harness.records import Boundary, Stack

GOOD = {"levels": [1, 5], "blocks": 2}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_plans_of_their_name(name: str) -> None:
    plan = load_preset(name)
    assert plan.preset == name
    others = [Stack.OPENSSL] if name in {"aa", "inject"} else [Stack.SSA]
    assert plan.stacks == (Stack.OPENSSL, *others)


@pytest.mark.parametrize("name", names())
def test_every_plan_of_the_package_can_be_had_and_has_its_own_name(name: str) -> None:
    assert load_preset(name).preset == name


def test_every_plan_but_the_sizes_makes_a_claim() -> None:
    sizes = {"smoke", "standard", "paper"}
    claimed = {due.name: due for due in claims([], {})}
    assert set(claimed) == set(names()) - sizes
    for due in claimed.values():
        forecast = campaign_s(due.plan) / 60
        assert 0.8 * forecast <= due.claim.minutes <= 2 * forecast + 3, (due.name, forecast)


def test_paper_is_the_papers_experiment() -> None:
    plan = load_preset("paper")
    assert plan.levels == tuple(range(1, 101))
    assert plan.blocks == 10
    assert plan.trials == 2000
    assert plan.size_bytes == 1_000_000


def test_all_complaints_come_at_once() -> None:
    fields = {
        "levels": {"from": 1, "to": 5},
        "bloks": 3,
        "blocks": 0,
        "stacks": ["openssl", "foo"],
        "link": "lam",
        "judgement": {"alpha": 2, "betta": 3},
        "url": "http://x",
    }
    with pytest.raises(UsageError) as caught:
        build(fields, {"judgement.power": 1}, "x.toml")
    text = str(caught.value)
    assert text.startswith("The plan (x.toml) has 9 errors; nothing was run:")
    for part in (
        "blocks: must be greater than or equal to 1 (it is 0)",
        "stacks.1: is 'foo', but must be 'openssl', 'ssa', 'plain', ",
        "link: is 'lam', but must be 'auto', 'loopback', 'lan', 'wan' or 'remote'",
        "judgement.alpha: must be less than 0.5 (it is 2)",
        "judgement.power: must be less than 1 (it is 1)",
        "judgement.betta: there is no such field; known are alpha",
        "bloks: there is no such field; did you mean blocks?",
        'link: is "lam", but there is a url; set link = "remote"',
        "url: 'http://x' is not a URL of the form https://",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("levels", "complaint"),
    [
        ({"from": 5, "to": 1}, "the range is empty"),
        ({"from": 1, "to": 9, "step": 0}, "the range is empty"),
        ({"from": 1}, "a range is written"),
        ({"from": True, "to": 9}, "a range is written"),
        ({"from": 1, "to": 9, "stop": 3}, "a range is written"),
        ({"from": 1, "to": 10**9}, "no level may be above 1000"),
        ([5, 1], "levels must ascend, each once"),
        ([1, 1], "levels must ascend, each once"),
        ([0, 1], "every level must be between 1 and 1000"),
        ([], "at least 1 item"),
    ],
)
def test_wrong_levels(levels: object, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        build({**GOOD, "levels": levels}, {}, "x.toml")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"link": "remote"}, "url: a remote link needs the file's address"),
        ({"ca": "ca.pem"}, "ca: belongs to a url"),
        ({"url": "https://host/f"}, 'link: is "auto", but there is a url'),
        ({"link": "remote", "url": "https:///f"}, "url: 'https:///f' is not a URL"),
    ],
)
def test_fields_that_do_not_go_together(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        build(GOOD, changes, "x.toml")


def test_a_range_is_its_levels() -> None:
    assert build({"levels": {"from": 1, "to": 10, "step": 4}, "blocks": 1}, {}, "x").levels == (1, 5, 9)


def test_the_hash_is_the_contents(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("# a remark\nblocks = 2\nlevels = [1, 5]\n")
    plan = load_file(file)
    assert plan.sha256 == build(GOOD, {}, "x").sha256
    assert plan.sha256 != load_file(file, {"seed": 2}).sha256


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot read the plan .*none\.toml: No such file"):
        load_file(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("levels = [1,")
    with pytest.raises(UsageError, match=r"broken\.toml\) is not TOML"):
        load_file(tmp_path / "broken.toml")
    for value in ("[" * 5000, "9" * 5000):
        (tmp_path / "broken.toml").write_text(f"blocks = {value}")
        with pytest.raises(UsageError, match=r"broken\.toml\) is not TOML"):
            load_file(tmp_path / "broken.toml")
        assert parse_changes([f"blocks={value}"]) == {"blocks": value}
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="it is not UTF-8"):
        load_file(tmp_path / "binary.toml")


def test_a_file_that_never_ends_or_never_begins(tmp_path: Path) -> None:
    """It is neither waited for nor read into memory."""
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "circle.toml").symlink_to("circle.toml")
    with (tmp_path / "large.toml").open("wb") as large:
        large.truncate(100_000_000)
    for path, why in (
        (tmp_path / "pipe.toml", "it is no regular file"),
        (Path("/dev/zero"), "it is no regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "circle.toml", "Too many levels of symbolic links"),
        (tmp_path / "large.toml", "it has more than 1048576 bytes"),
    ):
        with pytest.raises(UsageError, match=f"Cannot read the plan .*: {why}"):
            load_file(path)


WRONG_BOOLEANS = {
    "levels": [True],
    "blocks": True,
    "warm_up": False,
    "rtt_ms": True,
    "judgement.alpha": True,
    "judgement.min_blocks": True,
    "stopping.look_every": True,
    "url": False,
    "seed": False,
}


@pytest.mark.parametrize("field", WRONG_BOOLEANS)
def test_true_is_not_taken_for_one(field: str) -> None:
    changes = {"stopping.half_width_ms": 1.0, "blocks": 12} if field.startswith("stopping") else {}
    with pytest.raises(UsageError, match=f"  {field}: no field is true or false; write a number or a text"):
        build(GOOD, {**changes, field: WRONG_BOOLEANS[field]}, "x")


def test_no_field_of_a_plan_could_be_true() -> None:
    """Else it would be refused, too."""
    assert "boolean" not in json.dumps(Plan.model_json_schema())


def test_an_unknown_preset() -> None:
    with pytest.raises(UsageError, match="There is no preset 'papper'; there are aa, boundaries, c-clients"):
        load_preset("papper")


def test_settings_are_toml_or_text() -> None:
    settings = ["blocks=4", "link=lan", "levels=[1, 2]", "judgement.alpha=0.01", "url=https://h/f?a=b"]
    assert parse_changes(settings) == {
        "blocks": 4,
        "link": "lan",
        "levels": [1, 2],
        "judgement.alpha": 0.01,
        "url": "https://h/f?a=b",
    }
    with pytest.raises(UsageError, match="is not key=value"):
        parse_changes(["blocks"])


def test_settings_reach_into_tables() -> None:
    plan = load_preset("smoke", {"judgement.alpha": 0.01, "blocks": 7})
    assert (plan.judgement.alpha, plan.blocks) == (0.01, 7)


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("auto", (Boundary.SECCOMP,)),
        ("seccomp", (Boundary.SECCOMP,)),
        ("preload", (Boundary.PRELOAD,)),
        ("both", (Boundary.SECCOMP, Boundary.PRELOAD)),
    ],
)
def test_boundaries_are_a_factor(boundary: str, expected: tuple[Boundary, ...]) -> None:
    plan = build({**GOOD, "boundary": boundary}, {}, "test")
    assert plan.boundaries == expected
    assert plan.trials == 2 * 2 * 2 * len(expected)
    assert [route.boundary for route in plan.routes] == [None, *expected]


def test_a_boundary_needs_the_ssa() -> None:
    with pytest.raises(UsageError, match='boundary: is "both", but no stack is ssa; take it away, or add "ssa"'):
        build({**GOOD, "boundary": "both", "stacks": ["openssl", "openssl"]}, {}, "test")
    with pytest.raises(UsageError, match="boundary: is 'window', but must be 'auto', 'seccomp', 'preload' or 'both'"):
        build({**GOOD, "boundary": "window"}, {}, "test")


def test_the_hash_of_a_plan_that_was_recorded_stays() -> None:
    assert load_preset("paper").sha256 == "b1fc69c4a743ee1485f1fb6c8d0766351505f1fe4400213378ed20d89d617db4"


def test_a_plan_has_an_end() -> None:
    assert build({**GOOD, "blocks": 10_000}, {}, "x.toml").blocks == 10_000
    with pytest.raises(UsageError, match="blocks"):
        build({**GOOD, "blocks": 10_001}, {}, "x.toml")
