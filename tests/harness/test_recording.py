"""``record``: which campaigns are due, and that an interruption costs nothing.  One tiny campaign is really run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.archive import SUMS
from harness.check import check
from harness.errors import UsageError
from harness.plan import Plan
from harness.recording import REPLACED, WORKSHOP, Due, _put, claims, is_recorded, source
from harness.records import Claim

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
TINY = """
stacks = ["openssl", "openssl"]
link = "loopback"
levels = [1, 2]
blocks = 2
warm_up = 0
"""
CLAIM = """
[claim]
says = "Two arms of one stack do not differ."
expected = "too few data to say"
minutes = 1
data = "twins"
verdicts = ["underpowered"]
"""


@pytest.fixture
def plans(tmp_path: Path) -> Path:
    directory = tmp_path / "plans"
    directory.mkdir()
    (directory / "aa.toml").write_text(TINY + CLAIM)
    (directory / "b-slow.toml").write_text(TINY + CLAIM.replace("minutes = 1", "minutes = 60").replace("twins", ""))
    (directory / "no-claim.toml").write_text(TINY)
    return directory


def harness(*arguments: object) -> str:
    """What the command said, which must have ended well."""
    argv = [sys.executable, "-m", "harness", *map(str, arguments)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_plans_with_a_claim_are_due_and_the_quickest_first(plans: Path, tmp_path: Path) -> None:
    found = claims([], {"blocks": 1}, plans)
    assert [due.name for due in found] == ["aa", "b-slow"]
    assert [due.plan.blocks for due in found] == [1, 1]
    assert [due.target(tmp_path).name for due in found] == ["twins", "b-slow"]
    assert [due.name for due in claims(["b-slow"], {}, plans)] == ["b-slow"]


def test_what_makes_no_claim_cannot_be_recorded(plans: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is called no-claim, x; there are aa, b-slow"):
        claims(["no-claim", "x"], {}, plans)
    with pytest.raises(UsageError, match="makes a claim; say with --plans"):
        claims([], {}, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[claim", "is not TOML"),
        ("x = " + "[" * 5000, "is not TOML"),
        ("[claim]\nsays = 'x'", r"claim\.expected: Field required"),
        (TINY + CLAIM + "slope_ms = [1]", r"claim\.slope_ms"),
        (TINY + CLAIM + "surprise = 1", r"claim\.surprise"),
        ("levels = []" + CLAIM, "levels"),
    ],
)
def test_a_bad_plan_file_is_one_sentence(plans: Path, text: str, says: str) -> None:
    (plans / "aa.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        claims([], {}, plans)


def test_only_this_plan_by_this_source_is_recorded_already(tmp_path: Path) -> None:
    example = ROOT / "results" / "example"
    plan = Plan.model_validate(json.loads((example / "plan.json").read_text())["plan"])
    claim = Claim(says="x", expected="y", minutes=1)
    due = Due("example", claim, plan)
    source = json.loads((example / "environment.json").read_text())["fingerprint"]["versions.source_sha256"]
    assert is_recorded(due, ROOT / "results", source)
    assert not is_recorded(due, ROOT / "results", "another")
    assert not is_recorded(due, tmp_path, source)
    assert not is_recorded(Due("example", claim, plan.model_copy(update={"seed": 99})), ROOT / "results", source)
    damaged = shutil.copytree(example, tmp_path / "example")
    with (damaged / "trials.jsonl").open("a") as file:
        file.write("{}\n")
    assert not is_recorded(due, tmp_path, source)


def test_what_stood_there_gives_way_whole(tmp_path: Path) -> None:
    made, target = tmp_path / WORKSHOP / "new", tmp_path / "twins"
    for path in (made, target, made.with_name(REPLACED)):
        path.mkdir(parents=True)
        (path / path.name).touch()
    _put(made, target)
    assert [one.name for one in target.iterdir()] == ["new"]
    assert [one.name for one in made.with_name(REPLACED).iterdir()] == ["twins"]


@pytest.mark.system
def test_it_goes_on_where_it_was_interrupted_and_does_nothing_twice(plans: Path, tmp_path: Path) -> None:
    out, readme = tmp_path / "results", tmp_path / "README.md"
    readme.write_text("# Ours\n<!-- claims: made by analysis.claims -->\nold\n<!-- claims: end -->\nrest\n")
    (plans / "b-slow.toml").unlink()
    (tmp_path / "aa.toml").write_text(TINY)
    harness("run", "--plan", tmp_path / "aa.toml", "--out", out / WORKSHOP / "aa", "--no-analysis")
    (begun,) = (out / WORKSHOP / "aa").iterdir()
    lines = (begun / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (begun / "trials.jsonl").write_bytes(b"".join(lines[:3]))

    said = harness("record", out, "--plans", plans, "--write", readme)
    assert "1 claims, 1 of them to be recorded" in said
    assert check(out / "twins") == []
    assert (out / "twins" / "trials.jsonl").read_bytes().splitlines(keepends=True)[:3] == lines[:3]
    assert (out / "twins" / SUMS).is_file()
    report = (out / "report.html").read_text()
    assert "Two arms of one stack do not differ." in report
    assert report.count("underpowered (1 min): as expected") == 1
    assert not (out / WORKSHOP / "aa").exists()
    table = readme.read_text()
    assert "| Two arms of one stack do not differ. | `python -m harness run --plan aa` |" in table
    assert "[twins](twins/) | OpenSSL B: " in table
    assert "underpowered (1 min): as expected |" in table
    assert table.endswith("<!-- claims: end -->\nrest\n")
    (due,) = claims([], {}, plans)
    assert is_recorded(due, out, source())
