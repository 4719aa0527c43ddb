"""The recorded benchmarks are whole, and the page says what they say."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cli import NAMES
from benchmarks.page import render
from benchmarks.records import read

ROOT = Path(__file__).resolve().parents[2]


def test_the_recorded_page_is_not_stale() -> None:
    recordings = ROOT / "results" / "benchmarks"
    text = render([read(recordings / f"{name}.json") for name in NAMES])
    assert text == (ROOT / "docs" / "benchmarks.md").read_text("utf-8"), "renew it with: python -m benchmarks table"


def test_the_recordings_are_whole() -> None:
    for name in NAMES:
        found = read(ROOT / "results" / "benchmarks" / f"{name}.json")
        assert (found.benchmark, found.quick) == (name, False)
        assert found.command.startswith(f"python -m benchmarks run {name}")
        assert {len(row.rounds) for row in found.rows} == {found.sizes["rounds"]}
