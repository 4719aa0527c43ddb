"""A campaign at both boundaries: one verdict each against the baseline, and the two beside each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis import report, sentences
from analysis.boundaries import compare
from analysis.cli import app
from analysis.errors import DataError
from analysis.estimates import Estimate, Missing
from analysis.figures import figure4
from analysis.load import load
from analysis.pooling import scenario, scenarios
from analysis.study import studies
from analysis.synthetic import Design, Synthetic, Truth, campaign
from harness.records import Boundary, Stack
from tests.analysis.conftest import LEVELS, QUIET

DIFFERENCE_MS = 0.2  # per process: preload less seccomp, as set
PRELOAD_CPU = {"clients": 0.0024, "daemon": 0.0046, "server": 0.0040}


def at_both(design: Design, seed: int) -> Synthetic:
    """Two synthetic campaigns as one: every n twice in each block, once at each boundary."""
    openssl_cpu = Truth().cpu_s_per_mb[0]
    slower = replace(QUIET, slope_difference_ms=DIFFERENCE_MS, cpu_s_per_mb=(openssl_cpu, PRELOAD_CPU))
    first, second = campaign(design, QUIET, seed), campaign(design, slower, seed + 1)
    manifest = first.manifest.model_copy(update={"boundaries": tuple(Boundary)})
    pairs, count = len(design.levels), len(first.trials)
    moved = {
        trial.trial_id: {
            "trial_id": f"preload-{trial.trial_id}",
            "campaign": manifest.campaign,
            "pair": trial.pair + pairs,
            "sequence": trial.sequence + count,
            "boundary": Boundary.PRELOAD if trial.stack is Stack.SSA else None,
        }
        for trial in second.trials
    }
    trials = [trial.model_copy(update=moved[trial.trial_id]) for trial in second.trials]
    samples = [
        sample.model_copy(update={"trial_id": f"preload-{sample.trial_id}", "sequence": sample.sequence + count})
        for sample in second.samples
    ]
    return replace(first, manifest=manifest, trials=(*first.trials, *trials), samples=(*first.samples, *samples))


@pytest.fixture(scope="module")
def both(made: Callable[[str, Synthetic], Path]) -> Path:
    return made("both", at_both(Design(levels=LEVELS), seed=11))


def test_each_boundary_is_a_scenario_of_its_own_pairs(both: Path) -> None:
    loaded = load(both)
    seccomp, preload = scenarios([loaded])
    assert (seccomp.boundary, preload.boundary) == (Boundary.SECCOMP, Boundary.PRELOAD)
    assert (seccomp.arms, preload.arms) == (("OpenSSL", "SSA seccomp"), ("OpenSSL", "SSA preload"))
    assert len(seccomp.trials) + len(preload.trials) == len(loaded.trials)
    for one, boundary in ((seccomp, "seccomp"), (preload, "preload")):
        assert set(one.rows["boundary"].dropna()) == {boundary}
        assert one.rows["boundary"].notna().sum() * 2 == len(one.rows) == 200
        assert one.complete_blocks == 10


def test_the_difference_that_was_set_is_found(both: Path) -> None:
    first, second = studies(scenarios([load(both)]))
    assert first.verdict.boundaries is None
    found = second.verdict.boundaries
    assert found is not None
    assert (found.boundary, found.beside) == (Boundary.PRELOAD, Boundary.SECCOMP)
    assert isinstance(found.slope, Estimate)
    assert found.slope.ci_low < DIFFERENCE_MS < found.slope.ci_high
    assert found.slope.p < 0.001
    own = second.verdict.slopes.difference.value - first.verdict.slopes.difference.value
    assert found.slope.value == pytest.approx(own)
    seccomp_cpu = sum(value for party, value in Truth().cpu_s_per_mb[1].items() if party != "server")
    expected = sum(value for party, value in PRELOAD_CPU.items() if party != "server") / seccomp_cpu
    assert isinstance(found.cpu, Estimate)
    assert found.cpu.value == pytest.approx(expected, rel=0.02)


def test_the_comparison_is_the_regression_by_hand(both: Path) -> None:
    seccomp, preload = scenarios([load(both)])
    found = compare(preload, seccomp, 0.05).slope
    slopes = [float(np.polyfit(pairs["n"], pairs["diff"], 1)[0]) for pairs in (preload.pairs, seccomp.pairs)]
    assert isinstance(found, Estimate)
    assert found.value == pytest.approx(slopes[0] - slopes[1])
    assert found.df == 9


def test_it_is_said_in_the_terminal_and_in_the_report(both: Path, tmp_path: Path) -> None:
    found = studies(scenarios([load(both, samples=True)]))
    said = sentences.boundaries(found[1].verdict)
    assert said.startswith("SSA preload minus SSA seccomp: +0.")
    assert sentences.boundaries(found[0].verdict) == ""
    page = report.render(found)
    assert said.replace("<", "&lt;") in page
    assert "2 comparisons" in page
    assert page.count('id="times-loopback"') == page.count('id="times-loopback-preload"') == 1
    told = CliRunner().invoke(app, ["regression", str(both)])
    assert told.exit_code == 0
    assert said in told.stdout
    done = CliRunner().invoke(app, ["all", str(both), "--out", str(tmp_path)])
    assert done.exit_code == 0
    assert said in done.stdout
    recorded = str(tmp_path / "verdict.json")
    assert CliRunner().invoke(app, ["verify", str(both), "--recorded", recorded]).exit_code == 0


def test_figure4_draws_the_baseline_once(both: Path) -> None:
    lines = figure4.draw(scenarios([load(both)])).axes[0].get_lines()
    assert [str(line.get_label()) for line in lines] == [
        "SSA seccomp (local)",
        "OpenSSL (local)",
        "SSA preload (local)",
    ]
    assert len({line.get_color() for line in lines}) == 3


def test_two_campaigns_at_two_boundaries_are_neither_pooled_nor_compared(full: Path, made: Callable[..., Path]) -> None:
    other = campaign(Design(levels=LEVELS), QUIET, seed=21)
    manifest = other.manifest.model_copy(update={"boundaries": (Boundary.PRELOAD,)})
    preloaded = [
        trial.model_copy(update={"boundary": Boundary.PRELOAD} if trial.stack is Stack.SSA else {})
        for trial in other.trials
    ]
    path = made("preload-only", replace(other, manifest=manifest, trials=tuple(preloaded)))
    first, second = scenarios([load(full), load(path)])
    assert (first.arms, second.arms) == (("OpenSSL", "SSA"), ("OpenSSL", "SSA preload"))
    assert all(study.verdict.boundaries is None for study in studies([first, second]))
    assert len(figure4.draw([first, second]).axes[0].get_lines()) == 4
    with pytest.raises(DataError, match="within a campaign only"):
        compare(second, first, 0.05)


def test_too_little_is_missing_with_the_reason(made: Callable[[str, Synthetic], Path]) -> None:
    seccomp, preload = scenarios([load(made("one-block", at_both(Design(levels=(1, 2), blocks=1), seed=5)))])
    found = compare(preload, seccomp, 0.05)
    assert isinstance(found.slope, Missing)
    assert isinstance(found.cpu, Missing)


def test_a_pair_whose_ssa_trial_never_ran_counts_for_the_first_boundary(both: Path) -> None:
    loaded = load(both)
    pair = (loaded.trials["boundary"] == "preload").fillna(False)
    lost = pair & (loaded.trials["block"] == 0) & (loaded.trials["n"] == 10)
    fewer = replace(loaded, trials=loaded.trials[~lost].reset_index(drop=True))
    seccomp, preload = scenarios([fewer])
    assert (len(seccomp.trials), len(preload.trials)) == (201, 198)
    assert len(seccomp.rows) == 200


def test_what_was_recorded_before_is_at_seccomp(small: Path) -> None:
    import json

    assert scenario([load(small)]).boundary is Boundary.SECCOMP
    content = json.loads((small / "plan.json").read_text())
    del content["manifest"]["boundaries"]
    assert isinstance(content["manifest"], dict)
    from harness.records import Manifest

    assert Manifest.model_validate(content["manifest"]).boundaries == (Boundary.SECCOMP,)


def test_a_boundary_that_the_plan_does_not_know_is_refused(copied: Path) -> None:
    lines = (copied / "trials.jsonl").read_text().replace('"boundary":"seccomp"', '"boundary":"preload"', 1)
    (copied / "trials.jsonl").write_text(lines)
    with pytest.raises(DataError, match=r"boundary is none of the plan's: seccomp"):
        load(copied)
