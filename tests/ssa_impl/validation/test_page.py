"""The administrators' page says what the code does; its examples work."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ssa_impl.validation import registry
from ssa_impl.validation.model import Case, Count, Validation, Vote, revocation_table
from ssa_impl.validation.registry import GROUP, installed, strategy_for
from ssa_impl.validation.strategies import BUILT_IN
from ssa_impl.validation.table import validation_from_table
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.asking import ask
from tests.ssa_impl.validation.pages import rows

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "administrators" / "validation.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_parameter_is_described(name: str) -> None:
    plugin = BUILT_IN[name]
    section = PAGE.split(f"### {name}\n")[1].split("\n### ")[0]
    assert plugin.summary in section
    assert re.findall(r"^\| `.*", section, re.MULTILINE) == rows(plugin)


def test_the_examples_table_is_what_it_says() -> None:
    made = validation_from_table(tomllib.loads(blocks("toml")[0])["defaults"]["validation"])
    assert isinstance(made, Validation), made
    assert [choice.name for choice in made.voting] == ["webpki", "pinning", "engine"]
    assert made.voting[1].error is Count.ABSTAIN


def test_the_example_of_stapling_names_whom_servers_ask() -> None:
    profile = tomllib.loads(blocks("toml")[1])["profile"]["web"]
    made = validation_from_table(profile["validation"])
    assert isinstance(made, Validation), made
    assert profile["staple"] is True
    assert dict(revocation_table(made).parameters)["responder"] == "http://ocsp.internal.example/"
    assert [choice.name for choice in made.choices()] == ["trust-store-and-hostname"]


def test_the_packages_entry_points_are_our_strategies() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"][GROUP]
    assert {name: EntryPoint(name, value, GROUP).load() for name, value in named.items()} == BUILT_IN


def test_the_examples_plug_in_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "our_strategies.py").write_text(blocks("python")[0])
    information = tmp_path / "our_strategies-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: our-strategies\nVersion: 1\n")
    (name, value), *_ = tomllib.loads(blocks("toml")[-1])["project"]["entry-points"][GROUP].items()
    taken = "webpki = our_strategies:OfficeHours\nbroken = our_strategies:Nothing\nother = our_strategies:Case\n"
    (information / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {value}\n{taken}")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    try:
        assert {"broken", "other"}.isdisjoint(installed())
        assert installed()["webpki"] is BUILT_IN["webpki"]
        made = validation_from_table({"necessary": ["office-hours"], "office-hours": {"opens": 9}})
        assert isinstance(made, Validation), made
        strategy = strategy_for(made.necessary[0])
        noon: Case = replace(pki.case(pki.leaf()), now=pki.NOW.replace(hour=12, minute=0))
        assert ask(strategy, noon).vote is Vote.ACCEPT
        early = ask(strategy, replace(noon, now=noon.now.replace(hour=8)))
        assert (early.vote, early.reason) == (Vote.REJECT, "it is 08:00 UTC, and the office is closed")
        assert isinstance(validation_from_table({"necessary": ["office-hours"], "office-hours": {"opens": 24}}), list)
    finally:
        installed.cache_clear()
        registry.strategy_for.cache_clear()
