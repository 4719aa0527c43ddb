"""The recorded campaigns hold, and the README says what the reference says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analysis import sentences
from analysis.verdict import VerdictFile
from harness.archive import check_sums
from harness.check import check

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"


@pytest.mark.parametrize("name", ["reference", "standard", "example"])
def test_the_recorded_campaigns_hold(name: str) -> None:
    path = ROOT / "results" / name
    assert check_sums(path) == []
    assert check(path) == []


def test_the_readme_says_what_the_reference_says() -> None:
    (verdict,) = VerdictFile.model_validate_json((REFERENCE / "verdict.json").read_bytes()).verdicts
    said = " ".join((ROOT / "README.md").read_text("utf-8").replace("\n> ", " ").split())
    for sentence in (sentences.headline(verdict), sentences.cpu(verdict), sentences.judgement(verdict)):
        assert sentence in said, f"README.md does not say: {sentence}"


def test_the_readme_says_what_the_standard_preset_says() -> None:
    recorded = ROOT / "results" / "standard" / "verdict.json"
    (verdict,) = VerdictFile.model_validate_json(recorded.read_bytes()).verdicts
    found = re.search(r"(\S+ % of \S+ slope) \((95 % CI [^)]+)\)", sentences.headline(verdict))
    assert found is not None
    said = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"({found[1]}, {found[2]})" in said
    assert verdict.word in said.partition("the `standard` preset finds them")[2][:40]
