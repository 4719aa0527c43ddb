"""The recorded campaigns hold, and the README says what the reference says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis import sentences
from analysis.verdict import VerdictFile
from harness.archive import check_sums
from harness.check import check

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference"


RECORDED = sorted(sums.parent.name for sums in (ROOT / "results").glob("*/SHA256SUMS"))


def test_what_the_readme_rests_on_is_there() -> None:
    assert {"reference", "example"} <= set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_the_recorded_campaigns_hold(name: str) -> None:
    path = ROOT / "results" / name
    assert check_sums(path) == []
    assert check(path) == []


def test_the_claim_table_is_what_the_data_say(tmp_path: Path) -> None:
    page = ROOT / "results" / "README.md"
    copy = tmp_path / "README.md"
    copy.write_bytes(page.read_bytes())
    command = [sys.executable, "-m", "analysis", "claims", "results", "--write", str(copy)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {0, 1}, done.stderr  # 1: a claim is not as expected, and the table says so
    assert copy.read_text("utf-8") == page.read_text("utf-8"), f"renew it: {' '.join(command[1:-1])} results/README.md"


def test_the_readme_says_what_the_reference_says() -> None:
    (verdict,) = VerdictFile.model_validate_json((REFERENCE / "verdict.json").read_bytes()).verdicts
    said = " ".join((ROOT / "README.md").read_text("utf-8").replace("\n> ", " ").split())
    for sentence in (sentences.headline(verdict), sentences.cpu(verdict), sentences.judgement(verdict)):
        assert sentence in said, f"README.md does not say: {sentence}"
