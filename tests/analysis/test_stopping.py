"""A campaign that its plan's rule ended early: read, told, verified, compared."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.damage import damaged
from analysis.errors import DataError
from analysis.load import load, load_so_far
from analysis.models import SlopeFit
from analysis.pooling import scenario
from analysis.sentences import stopping as told
from analysis.stopping import half_widths, looks_again, stopped
from analysis.study import study
from analysis.synthetic import Design, Synthetic, Truth, campaign, write
from analysis.verification import look_differences
from harness.records import LOOKS, HalfWidth, Stopping
from tests.analysis.test_cli import run

RULE = Stopping(half_width_ms=0.12, min_blocks=10, look_every=2)
DESIGN = Design(levels=(1, 20, 40, 60, 80, 100), blocks=30)


def with_rule(rule: Stopping, seed: int) -> Synthetic:
    whole = campaign(DESIGN, Truth(noise_fraction=0.02), seed)
    return replace(whole, manifest=whole.manifest.model_copy(update={"stopping": rule}))


@pytest.fixture(scope="session")
def early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the harness leaves it: looked at between blocks, and nothing behind the look that was enough."""
    directory, whole = tmp_path_factory.mktemp("early"), with_rule(RULE, 5)
    write(directory, whole)
    looks = list(looks_again(load_so_far(directory)))
    assert looks[-1].stop
    assert len(looks) > 1, "the rule shall not be fulfilled at once"
    blocks = looks[-1].blocks
    trials = tuple(trial for trial in whole.trials if trial.block < blocks)
    known = {(trial.trial_id, trial.attempt) for trial in trials}
    samples = tuple(sample for sample in whole.samples if (sample.trial_id, sample.attempt) in known)
    write(directory, replace(whole, trials=trials, samples=samples))
    (directory / LOOKS).write_text("".join(f"{look.model_dump_json()}\n" for look in looks))
    return directory


@pytest.fixture
def changed(early: Path, tmp_path: Path) -> Path:
    target = tmp_path / "changed"
    shutil.copytree(early, target)
    return target


def edit(path: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


def test_the_last_look_saw_the_interval_that_is_reported(early: Path) -> None:
    found = load(early)
    slopes = study(scenario([found])).verdict.slopes
    assert isinstance(slopes, SlopeFit)
    width = (slopes.difference.ci_high - slopes.difference.ci_low) / 2
    (last,) = found.looks[-1].half_widths
    assert last.ms == pytest.approx(width, rel=1e-12)
    assert last.ms <= RULE.half_width_ms
    before = found.looks[-2].half_widths[0].ms
    assert before is not None
    assert before > RULE.half_width_ms


def test_a_look_sees_the_blocks_that_it_may_and_says_widths_only(early: Path) -> None:
    code, out, err = run("look", early, "--blocks", 10)
    assert (code, err) == (0, "")
    (found,) = json.loads(out)
    assert HalfWidth.model_validate(found) == load(early).looks[0].half_widths[0]
    assert set(found) == {"link", "profile", "boundary", "ms", "reason"}
    assert json.loads(run("look", early)[1])[0]["ms"] == load(early).looks[-1].half_widths[0].ms


def test_a_look_at_too_little_has_no_width_and_a_reason(early: Path) -> None:
    (found,) = half_widths(load(early), 1)
    assert (found.ms, "needs two blocks" in found.reason) == (None, True)


def test_a_look_does_not_mind_an_older_parquet_file(changed: Path) -> None:
    lines = (changed / "trials.jsonl").read_text().splitlines(keepends=True)
    (changed / "trials.jsonl").write_text("".join(lines[:60]))
    load(changed)
    assert (changed / "trials.parquet").exists()
    (changed / "trials.jsonl").write_text("".join(lines))
    content = (changed / "trials.parquet").read_bytes()
    assert half_widths(load_so_far(changed), 10) == load_so_far(changed).looks[0].half_widths
    assert (changed / "trials.parquet").read_bytes() == content


def test_it_is_told_everywhere(changed: Path) -> None:
    blocks = load(changed).looks[-1].blocks
    sentence = f"Ended by its plan's rule after {blocks} of at most 30 blocks: every interval at most ± 0.12 ms"
    code, out, _ = run("all", changed)
    assert (code, sentence in " ".join(out.split())) == (0, True)
    (verdict,) = json.loads((changed / "verdict.json").read_text())["verdicts"]
    (one,) = verdict["stopping"]
    assert (one["blocks"], one["most_blocks"], one["early"], len(one["looks"])) == (
        blocks,
        30,
        True,
        (blocks - 10) // 2 + 1,
    )
    page = html.unescape((changed / "report.html").read_text())
    assert sentence in page
    assert "Looks at the width" in page
    assert "it ended" in page
    assert run("verify", changed)[0] == 0
    edit(changed / LOOKS, lambda looks: looks[0].update(took_ns=5, trials=3))
    code, _, err = run("verify", changed)
    assert (code, "looks.jsonl[0].trials: recorded 3, now 120" in err) == (1, True), err
    assert "take these numbers for the fewest blocks" in " ".join(run("power", changed)[1].split())
    assert sentence in " ".join(run("compare", changed, changed, "--allow-undecided")[1].split())


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda looks: looks[0]["half_widths"][0].update(ms=0.13), "looks.jsonl[0].half_widths[0].ms: recorded 0.13"),
        (lambda looks: looks[0].update(trials=3), "looks.jsonl[0].trials: recorded 3"),
        (lambda looks: looks.pop(0), "looks.jsonl: recorded"),
        (lambda looks: looks[-1].update(stop=False), "stop: recorded False, now True"),
    ],
)
def test_every_look_is_taken_again(
    change: Callable[[list[dict[str, Any]]], object], difference: str, changed: Path
) -> None:
    edit(changed / LOOKS, change)
    assert difference in "\n".join(look_differences(load_so_far(changed)))


def test_what_stands_behind_the_end_is_refused(changed: Path) -> None:
    edit(changed / LOOKS, lambda looks: looks[0].update(stop=True))
    with pytest.raises(DataError, match=r"looks.jsonl, line 1: the campaign ended here, after 10 blocks, and yet"):
        load(changed)


def test_looks_without_a_rule_are_refused(changed: Path, small: Path) -> None:
    shutil.copy(small / "plan.json", changed / "plan.json")
    shutil.copy(small / "trials.jsonl", changed / "trials.jsonl")
    with pytest.raises(DataError, match=r"has looks, but plan\.json has no rule"):
        load_so_far(changed)


def test_a_torn_look_is_named(changed: Path) -> None:
    with (changed / LOOKS).open("a") as file:
        file.write('{"schema_version": 1, "blo')
    assert "looks.jsonl, line" in run("regression", changed)[2]
    assert any("looks.jsonl, line" in line for line in damaged(changed))


def test_pooled_campaigns_are_told_one_by_one(early: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", with_rule(Stopping(half_width_ms=1e-6), 6))
    both = [load(early), load(tmp_path / "other")]
    first, second = told(stopped(scenario(both).campaigns))
    assert "Ended by its plan's rule" in first
    assert "Went through all of at most 30 blocks; its plan's rule did not end it" in second


def test_a_campaign_without_a_rule_says_nothing(small: Path) -> None:
    assert stopped([load(small)]) == ()
    assert list(looks_again(load(small))) == []
