"""What a pilot promises, held against campaigns that are then made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import synthetic
from analysis.cli import app
from analysis.errors import NotEnoughDataError
from analysis.estimates import Missing
from analysis.frames import paired
from analysis.load import load
from analysis.pooling import scenario
from analysis.power import power_of
from analysis.selfcheck import finds, fits, primary
from analysis.sizing import MAX_BLOCKS, Answer, Question, chance, pilot, simulate, size, smallest
from analysis.synthetic import Design, Truth

STEADY = Truth(intercept_ms=400, noise_ms=30, noise_fraction=0, block_slope_sd_ms=0)
LEVELS = (1, 20, 40, 60, 80, 100)
DESIGN = Design(levels=LEVELS, blocks=40)


def pairs_of(design: Design, truth: Truth, seed: int = 1) -> pd.DataFrame:
    return paired(sizing_rows(design, truth, seed))


def sizing_rows(design: Design, truth: Truth, seed: int) -> pd.DataFrame:
    return synthetic.simulate(design, truth, seed).assign(campaign_index=0)


def test_the_spread_of_a_block_is_the_true_one() -> None:
    """Two independent errors of 30 ms a pair, over the spread of n."""
    centred = np.array(LEVELS) - np.mean(LEVELS)
    expected = 30 * np.sqrt(2) / np.sqrt((centred**2).sum())
    found = pilot(pairs_of(replace(DESIGN, blocks=400), STEADY, seed=2))
    assert found.block_sd == pytest.approx(expected, rel=0.05)


def test_blocks_with_slopes_of_their_own_are_seen() -> None:
    own = replace(STEADY, noise_ms=1, block_slope_sd_ms=0.5)
    found = pilot(pairs_of(replace(DESIGN, blocks=400), own))
    assert found.heterogeneity_p < 0.001
    assert found.between_sd == pytest.approx(0.5, rel=0.1)
    assert pilot(pairs_of(replace(DESIGN, levels=(1, 100), blocks=400), own)).block_sd == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("question", Question)
def test_formula_and_simulation_agree(question: Question) -> None:
    found = pilot(pairs_of(DESIGN, STEADY))
    wanted = {Question.PRECISION: 0.3, Question.DIFFERENCE: 0.4, Question.EQUIVALENCE: 0.4}[question]
    blocks = smallest(lambda b: chance(question, wanted, found.block_sd, b, 0.05) >= 0.8, 5)
    by_formula = chance(question, wanted, found.block_sd, blocks, 0.05)
    assert 0.8 <= by_formula < 0.95
    assert simulate(question, wanted, found, blocks, alpha=0.05, seed=1) == pytest.approx(by_formula, abs=0.05)


def test_campaigns_of_the_promised_size_find_what_was_promised() -> None:
    """The pilot knows nothing of the truth that its successors hold; the primary fit judges them."""
    found = pilot(pairs_of(DESIGN, STEADY))
    blocks = smallest(lambda b: chance(Question.DIFFERENCE, 0.5, found.block_sd, b, 0.05) >= 0.8, 5)
    made = fits(200, replace(DESIGN, blocks=blocks), replace(STEADY, slope_difference_ms=0.5), primary)
    assert 0.7 <= finds(made) / 200 <= 0.95


@pytest.mark.parametrize("blocks", [2, 6, 40])
def test_chances_are_what_they_are_known_to_be(blocks: int) -> None:
    assert chance(Question.DIFFERENCE, 0.3, 1.0, blocks, 0.05) == power_of(0.3, 1 / np.sqrt(blocks), blocks - 1, 0.05)
    assert chance(Question.PRECISION, 1e9, 1.0, blocks, 0.05) == pytest.approx(1)
    assert chance(Question.EQUIVALENCE, 1e9, 1.0, blocks, 0.05) == pytest.approx(1)
    assert chance(Question.EQUIVALENCE, 1e-9, 1.0, blocks, 0.05) == pytest.approx(0)
    for question in (Question.PRECISION, Question.EQUIVALENCE):
        assert chance(question, 0.3, 0.0, blocks, 0.05) == 1


def test_smallest() -> None:
    assert [smallest(lambda b, k=k: b >= k, 5) for k in (1, 5, 6, 7, 100, 101)] == [5, 5, 6, 7, 100, 101]
    with pytest.raises(NotEnoughDataError, match=f"more than {MAX_BLOCKS} blocks"):
        smallest(lambda _: False, 5)


def test_a_pilot_is_answered(full: Path) -> None:
    place = scenario([load(full)])
    asked = ((Question.PRECISION, 0.02), (Question.DIFFERENCE, 1e-6))
    found = size(place, asked)
    assert found.pilot_blocks == 10
    precise, hopeless = found.answers
    assert isinstance(precise, Answer)
    assert precise.minutes == pytest.approx(precise.blocks * found.minutes_per_block)
    assert precise.chance >= found.power == 0.8
    assert isinstance(hopeless, Missing)
    trials = place.trials
    total_ns = (trials["setup_ns"] + trials["elapsed_ns"] + trials["teardown_ns"]).sum()
    assert found.minutes_per_block == pytest.approx(total_ns / 60e9 / 10)


def test_one_block_is_no_pilot(empty: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="two levels"):
        size(scenario([load(empty)]), ())
    pairs = pairs_of(replace(DESIGN, blocks=1), STEADY)
    with pytest.raises(NotEnoughDataError, match="only one complete pair at n = 1"):
        pilot(pairs)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(
        app, [str(argument) for argument in arguments], env={"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command(full: Path, empty: Path) -> None:
    code, out, _ = run("power", full)
    assert code == 0
    for text in ("at most ± 0.125 ms", "find a difference of 0.25 ms", "rule out ± 0.4 ms", "10 blocks, 10 levels"):
        assert text in out
    code, out, _ = run("power", full, "--precision", 0.01, "--json")
    assert code == 0
    (one,) = json.loads(out)
    assert [(answer["question"], answer["wanted"]) for answer in one["answers"]] == [("precision", 0.01)]
    assert run("power", full, "--precision", 0)[0] == 2
    code, _, err = run("power", empty)
    assert (code, err.count("\n")) == (1, 1)
