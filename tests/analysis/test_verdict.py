from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from analysis import sentences
from analysis.estimates import Missing
from analysis.load import load
from analysis.pooling import scenario
from analysis.study import study
from analysis.verdict import Verdict, VerdictFile, Word, decide, holm

TABLE = [
    # differ, inside, beyond, word
    (False, True, False, Word.EQUIVALENT),
    (True, True, False, Word.INSIDE),
    (True, False, True, Word.RELEVANT),
    (True, False, False, Word.UNDECIDED),
    (False, False, False, Word.UNDECIDED),
    (False, False, True, Word.UNDECIDED),
]


@pytest.mark.parametrize(("differ", "inside", "beyond", "expected"), TABLE)
def test_decision_table(differ: bool, inside: bool, beyond: bool, expected: Word) -> None:
    assert decide(differ=differ, inside=inside, beyond=beyond) is expected


def test_exactly_four_words() -> None:
    assert {str(word) for word in Word} == {
        "equivalent",
        "different and relevant",
        "different but inside the margin",
        "undecided",
    }
    assert {word for *_, word in TABLE} == set(Word)


@settings(deadline=None, max_examples=20)  # statsmodels takes 60 ms a call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_holm(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


def judged(path: Path) -> Verdict:
    return study(scenario([load(path)])).verdict


def test_a_small_difference_seen_clearly_is_inside_the_margin(full: Path) -> None:
    found = judged(full)
    assert found.word is Word.INSIDE
    assert found.slopes.difference.ci_low < 0.1 < found.slopes.difference.ci_high
    assert found.aa_passed is None
    assert not found.design.underpowered
    assert [test.claim for test in found.confirmatory] == [
        "the slopes differ",
        "the slope difference is inside both margins",
        "the CPU seconds per MB differ",
    ]
    assert all(test.p_holm >= test.p for test in found.confirmatory)


def test_no_difference_is_equivalent(lan: Path) -> None:
    assert judged(lan).word is Word.EQUIVALENT


def test_a_large_difference_is_relevant(remote: Path) -> None:
    assert judged(remote).word is Word.RELEVANT


def test_underpowered_gets_no_word(small: Path) -> None:
    found = judged(small)
    assert found.word is None
    assert found.design.underpowered
    said = sentences.judgement(found)
    assert said.startswith("Underpowered, so there is no verdict")
    assert not any(str(word) in said for word in Word)


def test_an_aa_campaign_passes_and_gets_no_word(aa: Path) -> None:
    found = judged(aa)
    assert found.is_aa
    assert found.word is None
    assert found.aa_passed is True
    assert sentences.judgement(found).startswith("A/A: passed")


def test_an_aa_campaign_with_a_difference_fails(aa: Path) -> None:
    loaded = load(aa)
    slower = loaded.trials["elapsed_ns"] + (loaded.trials["arm"] * loaded.trials["n"] * 500_000)
    found = study(scenario([replace(loaded, trials=loaded.trials.assign(elapsed_ns=slower))])).verdict
    assert found.aa_passed is False
    assert "failed" in sentences.judgement(found)


@pytest.mark.parametrize(("shift_ns", "passed"), [(0, True), (100_000, False), (-250_000, False)])
def test_an_injected_delay_must_be_in_the_interval(injected: Path, shift_ns: int, passed: bool) -> None:
    loaded = load(injected)
    moved = loaded.trials["elapsed_ns"] + (loaded.trials["arm"] * loaded.trials["n"] * shift_ns)
    found = study(scenario([replace(loaded, trials=loaded.trials.assign(elapsed_ns=moved))])).verdict
    assert (found.word, found.aa_passed) == (None, passed)
    assert found.other == "OpenSSL B held back 0.25 ms per process"
    said = "passed: the plan put +0.250 ms per process" if passed else "failed: the plan put +0.250 ms per process"
    assert f"Injected delay: {said}" in sentences.judgement(found)


def test_a_delay_injected_into_another_stack_gets_no_word(full: Path) -> None:
    loaded = load(full)
    manifest = loaded.manifest.model_copy(update={"inject_ms_per_process": 0.25})
    found = study(scenario([replace(loaded, manifest=manifest)])).verdict
    assert (found.word, found.aa_passed) == (None, None)
    assert "not the stacks' own" in sentences.judgement(found)


def test_nothing_at_all_is_underpowered_with_reasons_everywhere(empty: Path) -> None:
    found = judged(empty)
    assert found.word is None
    assert found.design.underpowered
    for result in (found.slopes, found.difference_percent, found.equivalence.ms, found.cpu.ratio, found.checks):
        assert isinstance(result, Missing)
        assert result.reason
    assert found.confirmatory == ()


def test_relevance_that_is_open_is_said(remote: Path) -> None:
    found = judged(remote)
    unclear = found.model_copy(update={"word": Word.UNDECIDED})
    assert sentences.meaning(unclear) == sentences.OPEN_RELEVANCE
    not_different = tuple(test.model_copy(update={"p_holm": 0.5}) for test in found.confirmatory)
    assert (
        sentences.meaning(unclear.model_copy(update={"confirmatory": not_different}))
        == sentences.MEANING[Word.UNDECIDED]
    )


def test_the_file_keeps_every_digit(full: Path) -> None:
    found = judged(full)
    text = VerdictFile(verdicts=(found,)).model_dump_json()
    assert VerdictFile.model_validate_json(text).verdicts == (found,)
    assert json.loads(text)["verdicts"][0]["slopes"]["difference"]["value"] == found.slopes.difference.value


def test_hashes_and_versions_are_recorded(full: Path) -> None:
    found = judged(full)
    assert found.plan_sha256 == (json.loads((full / "plan.json").read_text())["manifest"]["plan_sha256"],)
    assert len(found.data_sha256) == 64
    assert {"analysis", "python", "numpy", "pandas", "scipy", "statsmodels"} == set(found.versions)


def test_the_data_hash_sees_every_change(small: Path) -> None:
    from analysis.study import data_sha256

    trials = load(small).trials
    assert data_sha256([trials]) == data_sha256([trials.sample(frac=1, random_state=1)])
    changed = trials.assign(load_1min=trials["load_1min"] + 1e-12)
    assert data_sha256([changed]) != data_sha256([trials])


def test_the_version_is_the_projects() -> None:
    import tomllib

    import analysis

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert analysis.__version__ == project["version"]
