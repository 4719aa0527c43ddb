"""Two campaigns beside each other, on synthetic campaigns whose truth is known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from typer.testing import CliRunner

from analysis import comparison
from analysis.cli import app
from analysis.comparing import CPU_THRESHOLD_PERCENT
from analysis.comparison import ComparisonFile, Standing, compare, welch_df
from analysis.errors import DataError
from analysis.estimates import Estimate, Missing
from analysis.load import Campaign, load
from analysis.pooling import scenario, unlike
from analysis.selfcheck import tolerance
from analysis.synthetic import Design, Synthetic, Truth, campaign, simulate
from harness.records import Boundary, Link, Stack
from tests.analysis.conftest import LEVELS, QUIET

PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
Make = Callable[[str, Synthetic], Path]


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=PLAIN)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def before(made: Make) -> Path:
    return made("before", campaign(Design(levels=LEVELS), replace(QUIET, slope_difference_ms=0.1), seed=21))


@pytest.fixture(scope="module")
def faster_machine(made: Make) -> Path:
    """Both arms cost 2 ms per process less, and the SSA's own cost is as it was."""
    truth = replace(QUIET, slope_difference_ms=0.1, slope_ms=6.75)
    return made("faster-machine", campaign(Design(levels=LEVELS, blocks=7), truth, seed=22))


@pytest.fixture(scope="module")
def slower_ssa(made: Make) -> Path:
    base, other = Truth().cpu_s_per_mb
    truth = replace(QUIET, slope_difference_ms=1.1, cpu_s_per_mb=(base, {**other, "daemon": 2 * other["daemon"]}))
    return made("slower-ssa", campaign(Design(levels=LEVELS), truth, seed=23))


def found(a: Path, b: Path, **options: Any) -> comparison.Comparison:
    (only,) = compare(load(a), load(b), **options)
    return only


def test_a_faster_machine_cancels_in_the_effect(before: Path, faster_machine: Path) -> None:
    one = found(before, faster_machine)
    assert isinstance(one.baseline_slope, Estimate)
    assert isinstance(one.other_slope, Estimate)
    assert isinstance(one.effect, Estimate)
    assert one.baseline_slope.ci_low <= -2 <= one.baseline_slope.ci_high
    assert one.other_slope.ci_low <= -2 <= one.other_slope.ci_high
    assert one.effect.ci_low <= 0 <= one.effect.ci_high
    assert one.standing is Standing.WITHIN


def test_a_slower_stack_is_found_in_time_and_cpu(before: Path, slower_ssa: Path) -> None:
    one = found(before, slower_ssa)
    assert isinstance(one.effect, Estimate)
    assert isinstance(one.cpu_ratio, Estimate)
    assert one.effect.ci_low <= 1.0 <= one.effect.ci_high
    base, other = ({k: v for k, v in arm.items() if k != "server"} for arm in Truth().cpu_s_per_mb)
    truth = (sum(other.values()) + other["daemon"]) / sum(other.values())
    assert sum(base.values()) > 0
    assert one.cpu_ratio.ci_low <= truth <= one.cpu_ratio.ci_high
    assert [guarded.standing for guarded in one.guarded] == [Standing.BEYOND, Standing.BEYOND]


def test_the_effect_is_the_pooled_regressions_coefficient(before: Path, slower_ssa: Path) -> None:
    rows = [scenario([load(path)]).rows.assign(campaign=k) for k, path in enumerate((before, slower_ssa))]
    pooled = ols("ms ~ n * arm * campaign", pd.concat(rows, ignore_index=True)).fit()
    one = found(before, slower_ssa)
    assert isinstance(one.effect, Estimate)
    assert isinstance(one.baseline_slope, Estimate)
    assert one.effect.value == pytest.approx(pooled.params["n:arm:campaign"], rel=1e-9)
    assert one.baseline_slope.value == pytest.approx(pooled.params["n:campaign"], rel=1e-6)


def test_welch() -> None:
    assert welch_df((1.0, 9), (1.0, 9)) == pytest.approx(18)
    assert welch_df((1.0, 9), (0.0, 4)) == pytest.approx(9)
    assert welch_df((0.0, 9), (0.0, 4)) == 13


def test_the_interval_covers_the_truth_as_often_as_it_says(made: Make) -> None:
    """Campaigns of 5 and 9 blocks, whose blocks have slopes of their own: the true change is 0.3."""
    count, hits = 120, 0
    shells = [_shell(blocks, difference) for blocks, difference in ((5, 0.1), (9, 0.4))]
    for seed in range(count):
        a, b = (shell(1000 * k + seed) for k, shell in enumerate(shells))
        change = comparison._slopes(a, b, (0, 1), 0.05)
        hits += change.ci_low <= 0.3 <= change.ci_high
    low, high = tolerance(count, 0.95)
    assert low <= hits <= high


def _shell(blocks: int, difference: float) -> Callable[[int], Any]:
    """Scenarios with simulated rows; all else of them is not looked at."""
    design = Design(levels=(1, 40, 70, 100), blocks=blocks)
    truth = Truth(slope_difference_ms=difference, block_slope_sd_ms=0.1)
    return lambda seed: SimpleNamespace(rows=simulate(design, truth, seed))


@pytest.mark.parametrize(
    ("low", "high", "standing"),
    [(-0.4, 0.4, Standing.WITHIN), (-0.4, 0.2, Standing.UNDECIDED), (-0.4, 0.05, Standing.BEYOND),
     (0.4, 0.5, Standing.BEYOND), (-np.inf, 0.4, Standing.WITHIN)],
)  # fmt: skip
def test_standing(low: float, high: float, standing: Standing) -> None:
    change = Estimate(
        name="", unit="", value=0.2, standard_error=None, ci_low=0.1, ci_high=0.3, level=0.95, p=0, df=1, method=""
    )
    assert comparison._standing(change, low, high) is standing
    assert comparison._standing(Missing(name="", reason=""), low, high) is Standing.UNDECIDED


def test_what_became_smaller_is_no_regression(before: Path, slower_ssa: Path) -> None:
    assert found(slower_ssa, before).standing is Standing.BEYOND
    assert found(slower_ssa, before, worse_only=True).standing is Standing.WITHIN
    assert found(before, slower_ssa, worse_only=True).standing is Standing.BEYOND


def test_the_threshold_is_as_old_as_the_plan_of_a(before: Path, slower_ssa: Path) -> None:
    assert found(before, slower_ssa).guarded[0].high == 0.4
    assert found(before, slower_ssa, threshold_ms=1.5, cpu_threshold_percent=100).standing is Standing.WITHIN
    assert comparison.CPU_THRESHOLD_PERCENT == CPU_THRESHOLD_PERCENT


def changed(loaded: Campaign, **values: Any) -> Campaign:
    return replace(loaded, manifest=loaded.manifest.model_copy(update=values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"link": Link.LAN}, "link is loopback and lan"),
        ({"size_bytes": 5}, "size_bytes is 1000000 and 5"),
        ({"server": "nginx"}, "server is synthetic and nginx"),
        ({"stacks": (Stack.OPENSSL, Stack.OPENSSL)}, "stacks is openssl, ssa and openssl, openssl"),
        ({"boundaries": (Boundary.PRELOAD,)}, "boundaries is seccomp and preload"),
        ({"inject_ms_per_process": 0.5}, "inject_ms_per_process is 0.0 and 0.5"),
    ],
)
def test_another_question_is_refused(before: Path, values: dict[str, Any], said: str) -> None:
    a, b = load(before), changed(load(before), **values)
    with pytest.raises(DataError, match=said):
        compare(a, b)


def test_another_rate_is_refused_and_shown_when_told(before: Path) -> None:
    a = load(before)
    environment = a.environment.model_copy(update={"link": {**a.environment.link, "rate_mbit_s": 100.0}})
    b = replace(a, environment=environment)
    with pytest.raises(DataError, match="the link's rate_mbit_s is none and 100"):
        compare(a, b)
    (one,) = compare(a, b, anyway=True)
    assert [unlike.what for unlike in one.incomparable] == ["the link's rate_mbit_s"]


def over(emulator: dict[str, Any], a: Campaign) -> Campaign:
    """The campaign, measured over a link with that emulator."""
    environment = a.environment
    changes = {
        "link": {**environment.link, "emulator": emulator},
        "fingerprint": {**environment.fingerprint, "link.emulator": emulator},
    }
    return replace(a, environment=environment.model_copy(update=changes))


def test_two_emulators_share_no_fit_and_are_not_compared(before: Path) -> None:
    a = load(before)
    older, tun, netem = (over(one, a) for one in ({"scheduling": "fifo"}, {"name": "tun"}, {"name": "netem"}))
    assert unlike(netem, netem) == ""
    assert unlike(tun, netem) == "link.emulator differs: {'name': 'tun'} and {'name': 'netem'}"
    assert compare(older, tun)
    with pytest.raises(DataError, match="the link's emulator is tun and netem"):
        compare(tun, netem)


def test_too_few_blocks_are_undecided_with_the_reason(before: Path, empty: Path) -> None:
    one = found(before, empty)
    assert one.standing is Standing.UNDECIDED
    assert isinstance(one.effect, Missing)
    code, out, _ = run("compare", before, empty)
    assert code == 3
    assert "not enough data, so undecided" in out


def test_the_command_within(before: Path, faster_machine: Path) -> None:
    code, out, err = run("compare", before, faster_machine)
    assert (code, err) == (0, "")
    assert out.index("What differs") < out.index("plan.design.blocks") < out.index("From A to B")
    assert "Comparison: within" in out


def test_the_command_beyond_and_as_json(before: Path, slower_ssa: Path) -> None:
    code, out, _ = run("compare", before, slower_ssa)
    assert code == 1
    assert "Comparison: beyond" in out
    code, out, _ = run("compare", before, slower_ssa, "--json")
    assert code == 1
    (one,) = ComparisonFile.model_validate_json(out).comparisons
    assert one == found(before, slower_ssa)
    assert json.loads(out)["comparisons"][0]["guarded"][0]["standing"] == "beyond"
    assert run("compare", before, slower_ssa, "--threshold", 2, "--cpu-threshold", 100)[0] == 0


def test_the_command_undecided(before: Path, faster_machine: Path) -> None:
    narrow = ("--threshold", 0.0001)
    assert run("compare", before, faster_machine, *narrow)[0] == 3
    assert run("compare", before, faster_machine, *narrow, "--allow-undecided")[0] == 0


def test_the_command_with_bad_files(before: Path, lan: Path, tmp_path: Path) -> None:
    code, _, err = run("compare", before, tmp_path / "nothing")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = run("compare", before, lan)
    assert (code, "--anyway" in err) == (2, True)
    assert run("compare", before)[0] == 2
    code, out, _ = run("compare", before, lan, "--anyway", "--threshold", 5, "--cpu-threshold", 50)
    assert code == 0
    assert "Not the same question: link is loopback and lan" in out


def test_a_campaign_beside_itself_says_so(before: Path, tmp_path: Path) -> None:
    shutil.copytree(before, tmp_path / "copy")
    code, out, _ = run("compare", before, tmp_path / "copy")
    assert code == 0
    assert "A and B are one campaign" in out
    assert "Plan, machine, kernel and versions are the same." in out
