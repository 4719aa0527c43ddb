"""What needs no campaign: help, plan, refusals.  (Campaigns are run in test_campaigns.)"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.cli import app


def call(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(app, list(arguments), prog_name="harness")


@pytest.mark.parametrize("command", [(), ("plan",), ("run",), ("resume",), ("check",)])
def test_help(command: tuple[str, ...]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: harness" in result.stdout


def test_plan_prints_order_and_duration_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("plan", "--preset", "paper")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len([line for line in lines if line.split()[-1:] in (["ssa"], ["openssl"])]) == 1000
    assert "2000 trials (n = 1 to 100; 10 blocks; openssl and ssa), seed 1, about" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_plan_as_json_is_the_order() -> None:
    plans = [json.loads(call("plan", "--preset", "smoke", "--seed", seed, "--json").stdout) for seed in ("1", "3", "1")]
    assert plans[0] == plans[2]
    assert plans[0]["trials"] != plans[1]["trials"]
    assert len(plans[0]["trials"]) == 12
    assert set(plans[0]["trials"][0]) >= {"trial_id", "block", "pair", "position", "stack", "n"}


def test_a_plan_with_both_boundaries_says_so() -> None:
    result = call("plan", "--preset", "smoke", "--boundary", "both", "--blocks", "1")
    assert result.exit_code == 0
    assert "12 trials (n = 1, 5, 20; 1 blocks; openssl and ssa, at seccomp and preload)" in result.stdout
    assert result.stdout.count("ssa-preload") == 3


def test_an_a_a_plan_names_its_arms() -> None:
    result = call("plan", "--preset", "smoke", "--set", 'stacks=["ssa", "ssa"]', "--blocks", "1")
    assert result.exit_code == 0
    assert "ssa-a" in result.stdout
    assert "ssa-b" in result.stdout


def test_options_are_parts_of_the_plan() -> None:
    result = call(
        "plan", "--json", "--url", "https://[::1]:8443/f?x=y", "--ca", "ca.pem", "--server", "nginx",
        "--boundary", "seccomp",
    )  # fmt: skip
    plan = json.loads(result.stdout)["plan"]
    assert plan["link"] == "remote"
    assert plan["ca"] == str(Path("ca.pem").resolve())
    assert (plan["server"], plan["boundary"], plan["preset"]) == ("nginx", "seccomp", "standard")


def test_a_plan_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('preset = "mine"\nlevels = [2, 4]\nblocks = 1\n')
    assert "Plan mine: 4 trials" in call("plan", "--plan", str(tmp_path / "mine.toml")).stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("plan", "--preset", "smoke", "--plan", "x.toml"), "Say either --preset or --plan, not both."),
        (("plan", "--plan", "none.toml"), "Cannot read the plan none.toml"),
        (("plan", "--set", "blocks"), "is not key=value"),
        (("plan", "--blocks", "0"), "blocks: must be greater than or equal to 1 (it is 0)"),
        (("plan", "--link", "moon"), "link: is 'moon', but must be 'auto', 'loopback', 'lan', 'wan' or 'remote'"),
        (("resume", "none"), "There is no campaign none: it is not a directory."),
        (("check", "none"), "There is no campaign none: it is not a directory."),
        (("run", "--no-such-option"), "No such option"),
        (("run", "--seed", "x"), "Invalid value for '--seed'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], text: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())
