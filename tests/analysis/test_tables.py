from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from analysis import sentences, tables
from analysis.load import load
from analysis.pooling import scenario
from analysis.study import Study, study


def studied(path: Path) -> Study:
    return study(scenario([load(path)]))


def printed(found: Study) -> str:
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as capture:
        console.quiet = False
        for part in tables.summary(found):
            console.print(part)
    return capture.get()


def test_by_level_by_hand(small: Path) -> None:
    found = scenario([load(small)])
    table = tables.by_level(found)
    pairs = found.pairs[found.pairs["n"] == 10]
    assert table.loc[10, "median_0"] == pairs["ms_0"].median()
    assert table.loc[10, "ratio"] == pairs["ms_1"].median() / pairs["ms_0"].median()
    assert table["pairs"].sum() == len(found.pairs)


@pytest.mark.parametrize(
    ("levels", "shown"),
    [
        ([], []),
        ([1, 5, 20], [1, 5, 20]),
        (list(range(1, 101)), [1, *range(10, 101, 10)]),
        (list(range(1, 101, 3)), [1, 10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100]),
    ],
)
def test_readable_levels(levels: list[int], shown: list[int]) -> None:
    assert tables.readable(levels) == shown


def test_the_summary_ends_with_headline_cpu_and_verdict(full: Path) -> None:
    found = studied(full)
    lines = printed(found).strip().splitlines()
    assert lines[-3:] == [
        sentences.headline(found.verdict),
        sentences.cpu(found.verdict),
        sentences.judgement(found.verdict),
    ]
    assert "SYNTHETIC" in lines[0]
    assert any(line.startswith("Warning: These data are synthetic") for line in lines)
    assert any("│ 100 │" in line for line in lines)


def test_failures_are_counted(small: Path) -> None:
    found = studied(small)
    failed = found.verdict.counts.by_fate["failed"]
    assert f"{failed} failed" in printed(found)


def test_no_data_still_print(empty: Path) -> None:
    text = printed(studied(empty))
    assert "not enough data: there is no complete pair of ok trials" in text
    assert "Underpowered" in text


def test_markup_in_a_warning_is_only_text(small: Path) -> None:
    loaded = load(small)
    warning = loaded.environment.warnings[0].model_copy(update={"text": "[bold]x[/nothing]"})
    environment = loaded.environment.model_copy(update={"warnings": (warning,)})
    assert "[bold]x[/nothing]" in printed(study(scenario([replace(loaded, environment=environment)])))


def test_numbers_are_signed_and_p_values_readable() -> None:
    assert sentences.signed(0.01962) == "+0.0196"
    assert sentences.signed(-1.3) == "-1.30"
    assert sentences.signed(-170.2) == "-170"
    assert sentences.signed(0.0) == "+0.00"
    assert sentences.significant(6, 3) == "6.00"
    assert sentences.p_text(0.00001) == "p < 0.0001"
    assert sentences.p_text(0.0312) == "p = 0.031"


def test_a_disagreeing_check_is_printed(full: Path) -> None:
    found = studied(full)
    checks = found.verdict.checks.model_copy(update={"disagreements": ("HC3: far away",)})
    crooked = replace(found, verdict=found.verdict.model_copy(update={"checks": checks}))
    assert "Check disagrees: HC3: far away" in printed(crooked)
