from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis import report, sentences
from analysis.load import Environment, load
from analysis.pooling import scenario, scenarios
from analysis.report import flatten
from analysis.study import Study, study

HOSTILE = "<script>alert('x')</script>\"&amp;<img src=x onerror=y>"


class Page(HTMLParser):
    """Tags, ids and what is loaded."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "data", "poster"):
                self.loaded.append(str(value))
            if name == "href":
                self.links.append(str(value))
            assert not name.startswith("on")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def studied(*paths: Path) -> list[Study]:
    return [study(one) for one in scenarios([load(path, samples=True) for path in paths])]


@pytest.fixture(scope="module")
def text(full: Path) -> str:
    return report.render(studied(full))


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_is_whole_and_loads_nothing(page: Page) -> None:
    assert page.open == []
    assert page.loaded
    assert len(set(page.ids)) == len(page.ids)
    assert all(uri.startswith("data:image/svg+xml;base64,") for uri in page.loaded)
    assert "script" not in page.tags
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_it_says_what_the_terminal_says(page: Page, full: Path) -> None:
    (found,) = studied(full)
    verdict = found.verdict
    words = " ".join(page.text.split())
    for text in (sentences.headline(verdict), sentences.cpu(verdict), sentences.judgement(verdict)):
        assert text in words
    assert verdict.data_sha256 in page.text
    assert "python -m analysis figure4 DIR" in page.text
    assert "SYNTHETIC" in page.text


def test_every_level_and_every_check_is_there(page: Page) -> None:
    for name in ("primary", "pair differences", "slopes by block", "HC3", "weighted", "permutation", "paper's model"):
        assert name in page.text
    assert "paper, remote" in page.text
    assert "-0.376 to -0.124" in page.text
    for name in ("bent lines", "median block", "the slowest after it", "p99"):
        assert name in page.text
    for level in range(10, 101, 10):
        assert str(level) in page.text


@pytest.mark.parametrize("data", ["small", "empty", "aa"])
def test_few_data_make_a_whole_page_too(data: str, request: pytest.FixtureRequest) -> None:
    found = Page(report.render(studied(request.getfixturevalue(data))))
    assert found.open == []
    expected = {"small": "Underpowered", "empty": "not enough data", "aa": "A/A: passed"}
    assert expected[data] in found.text


def test_several_links_are_shown_together_and_one_by_one(lan: Path, remote: Path) -> None:
    found = Page(report.render(studied(lan, remote)))
    assert "SSA against OpenSSL, lan link (emulated)" in found.text
    assert "SSA against OpenSSL, remote link" in found.text
    assert {"regression-lan", "regression-remote", "drawn-figure4-lan", "findings"} <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert "verdict" in found.text
    assert found.tags.count("figure") > 10
    assert {"drawn-forest-overview", "drawn-figure4-overview"} <= set(found.ids)
    assert "synthetic-lan-4" in found.text[found.text.index("What was found") : found.text.index("All comparisons")]


def test_hostile_texts_are_shown_and_not_obeyed(small: Path) -> None:
    loaded = load(small, samples=True)
    environment = Environment.model_validate(
        {
            "schema_version": 1,
            "fingerprint": {HOSTILE: HOSTILE},
            "machine": {"list": [HOSTILE, {HOSTILE: None}]},
            "warnings": [{"code": "x", "text": HOSTILE, "advice": HOSTILE}],
        }
    )
    trials = loaded.trials.assign(reason=loaded.trials["reason"].mask(loaded.trials["outcome"] != "ok", HOSTILE))
    edited = replace(loaded, environment=environment, trials=trials, plan={HOSTILE: HOSTILE})
    text = report.render([study(scenario([edited]))])
    assert "<script" not in text
    assert "onerror=y>" not in text
    found = Page(text)
    assert found.text.count(HOSTILE) >= 5


def test_unmeasured_is_not_zero(small: Path) -> None:
    loaded = load(small, samples=True)
    blind = loaded.trials.assign(**{name: None for name in loaded.trials.columns if name.startswith("cpu_")})
    blind = blind.astype({name: "Int64" for name in blind.columns if name.startswith("cpu_")})
    found = Page(report.render([study(scenario([replace(loaded, trials=blind)]))]))
    assert "CPU time was not measured" in found.text
    assert "SSA not measured" in found.text


def test_flatten() -> None:
    value = {"a": {"b": 1, "c": None}, "d": ["x", 2, {"e": 3}], "f": True}
    assert list(flatten(value)) == [("a.b", "1"), ("a.c", "not known"), ("d", 'x, 2, {"e": 3}'), ("f", "True")]


def test_it_is_the_same_every_time(small: Path) -> None:
    assert report.render(studied(small)) == report.render(studied(small))


def test_no_path_of_the_machine_is_in_it(text: str, full: Path) -> None:
    assert str(full.parent) not in text
    assert not re.search(r"/(home|tmp|work|root)/", re.sub(r"base64,[^\"]+", "", text))


def test_the_plan_is_shown(page: Page) -> None:
    shown = re.search(r"\{\s+\"synthetic\".*\}", page.text, re.DOTALL)
    assert shown
    assert json.loads(shown.group().split("\nData (")[0])["synthetic"] is True
