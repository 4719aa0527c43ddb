"""Two builds of OpenSSL in one comparison are named everywhere; plain HTTP is a floor and no claim."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import report, sentences, tables
from analysis.figures import figure4
from analysis.libraries import build
from analysis.load import Environment, load
from analysis.pooling import scenarios
from analysis.study import study
from analysis.synthetic import Design, Synthetic, campaign
from harness.records import Stack
from tests.analysis.conftest import LEVELS, QUIET

OLD, NEW = "OpenSSL 3.0.19 27 Jan 2026", "OpenSSL 4.0.3 29 Sep 2026"
SENTENCE = "Different builds of OpenSSL: OpenSSL with 4.0.3, stunnel with 3.0.19; the comparison is of them too"


def with_environment(path: Path, **parts: Any) -> Path:
    file = path / "environment.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **parts}))
    return path


@pytest.fixture(scope="module")
def proxied(made: Callable[[str, Synthetic], Path]) -> Path:
    design = Design(levels=LEVELS, stacks=(Stack.OPENSSL, Stack.STUNNEL))
    path = made("proxied", campaign(design, QUIET, seed=12))
    return with_environment(path, clients={"openssl": {"openssl": NEW}}, proxies={"stunnel": {"openssl": OLD}})


@pytest.fixture(scope="module")
def floored(made: Callable[[str, Synthetic], Path]) -> Path:
    design = Design(levels=LEVELS, stacks=(Stack.OPENSSL, Stack.PLAIN))
    return made("floored", campaign(design, replace(QUIET, slope_difference_ms=-3.0), seed=13))


def test_two_builds_are_named_in_the_table_on_the_figure_and_in_the_report(
    proxied: Path,
) -> None:
    (found,) = scenarios([load(proxied, samples=True)])
    judged = study(found)
    assert judged.verdict.libraries == SENTENCE
    assert judged.verdict.word is not None
    assert SENTENCE in [str(line) for line in tables.summary(judged)]
    assert SENTENCE in figure4.draw([found]).get_supxlabel()
    assert SENTENCE in report.render([judged])


def test_a_proxys_processor_time_counts(proxied: Path) -> None:
    (found,) = scenarios([load(proxied)])
    cost = study(found).verdict.cpu.other
    assert cost.daemon is not None
    assert cost.stack.value == pytest.approx(cost.clients + cost.daemon, rel=0.05)


def test_one_build_or_an_unknown_one_is_not_mentioned(full: Path) -> None:
    (found,) = scenarios([load(full)])
    assert study(found).verdict.libraries == ""


def test_where_a_build_stands() -> None:
    environment = Environment.model_validate(
        {
            "schema_version": 1,
            "fingerprint": {},
            "clients": {"openssl": {"openssl": NEW}, "openssl-c": {"openssl": OLD}, "ssa": {"openssl": None}},
            "daemon": {"openssl": NEW},
            "proxies": {"haproxy": {"openssl": OLD}},
        }
    )
    told = {stack: build(environment, stack) for stack in Stack}
    assert told == {
        Stack.OPENSSL: NEW,
        Stack.SSA: NEW,
        Stack.SSA_C: NEW,
        Stack.OPENSSL_C: OLD,
        Stack.HAPROXY: OLD,
        Stack.STUNNEL: None,
        Stack.PLAIN: None,
    }


def test_plain_http_is_no_claim(floored: Path) -> None:
    (found,) = scenarios([load(floored)])
    verdict = study(found).verdict
    assert (verdict.word, verdict.confirmatory, verdict.has_floor) == (None, (), True)
    assert "the floor below the other, and no claim is tested" in sentences.judgement(verdict)
    assert "plain HTTP minus OpenSSL: -3.0" in sentences.headline(verdict)


def test_the_floor_is_drawn_below_other_campaigns(floored: Path, full: Path) -> None:
    together = scenarios([load(full), load(floored)])
    (axes,) = figure4.draw(together).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "SSA (local)",
        "OpenSSL (local)",
        "plain HTTP (local)",
    ]
    (alone,) = figure4.draw(together[1:]).axes
    assert len(alone.get_lines()) == 2
