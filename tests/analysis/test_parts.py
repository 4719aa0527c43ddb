"""Campaigns of several links and profiles: each part is judged apart, and the published design not at all."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis import sentences
from analysis.cli import app
from analysis.errors import DataError
from analysis.figures import figure4, style
from analysis.frames import Place, places
from analysis.load import Campaign, load
from analysis.pooling import scenario, scenarios
from analysis.study import studies
from analysis.unlike import decisive, is_fleeting
from analysis.validate import check_trials
from harness.records import Boundary, Link, Profile
from tests.harness.program import Program


def in_parts(small: Path, links: tuple[Link, ...], profiles: tuple[Profile, ...]) -> Campaign:
    """The small campaign once for each part, as if it had passed over all of them."""
    found = load(small, samples=True)
    manifest = found.manifest.model_copy(
        update={"link": links[0], "profile": profiles[0], "links": links, "profiles": profiles}
    )
    trials, samples = [], []
    for k, (link, profile) in enumerate(manifest.parts):
        moved = {"sequence": found.trials["sequence"] + k * len(found.trials)}
        named = found.trials["trial_id"] + f"-{k}"
        pair = found.trials["pair"] + k * 1000
        trials.append(found.trials.assign(**moved, trial_id=named, pair=pair, link=str(link), profile=str(profile)))
        samples.append(found.samples.assign(trial_id=found.samples["trial_id"] + f"-{k}"))
    both = pd.concat(trials, ignore_index=True), pd.concat(samples, ignore_index=True)
    return replace(found, manifest=manifest, trials=both[0], samples=both[1])


RECORDED = Path(__file__).parents[2] / "results/paper-2018"
TWO_LINKS = (Link.LOOPBACK, Link.WAN)
TWO_PROFILES = (Profile.SOUND, Profile.PAPER_2018)


@pytest.fixture(scope="module")
def four_parts(small: Path) -> Campaign:
    return in_parts(small, TWO_LINKS, TWO_PROFILES)


def test_each_part_is_a_scenario_of_its_own(four_parts: Campaign, small: Path) -> None:
    check_trials(four_parts.trials, four_parts.manifest, Path("trials.jsonl"))
    found = scenarios([four_parts])
    assert [one.place for one in found] == list(places(four_parts.manifest))
    assert [(one.link, one.profile) for one in found] == [(link, one) for link in TWO_LINKS for one in TWO_PROFILES]
    alone = scenario([load(small)])
    for one in found:
        assert len(one.rows) == len(alone.rows)
        assert one.complete_blocks == alone.complete_blocks
        assert one.pairs["diff"].tolist() == alone.pairs["diff"].tolist()


def test_the_published_design_is_told_and_never_judged(full: Path) -> None:
    sound, published = studies(scenarios([in_parts(full, (Link.LOOPBACK,), TWO_PROFILES)]))
    assert sound.verdict.word is not None
    assert sound.verdict.slopes == published.verdict.slopes
    assert published.verdict.word is None
    assert published.verdict.confirmatory == ()
    assert sentences.word(published.verdict) == "none"
    assert sentences.judgement(published.verdict).startswith(
        "As the 2018 design would have reported: a significant difference, +0.1"
    )
    assert sentences.place(published.verdict) == "loopback, profile paper-2018"


@pytest.mark.parametrize(("column", "value"), [("link", "lan"), ("profile", "transfer")])
def test_a_trial_of_no_part_is_named_by_its_line(four_parts: Campaign, column: str, value: str) -> None:
    trials = four_parts.trials.copy()
    trials.loc[4, column] = value
    with pytest.raises(DataError, match=rf"trials.jsonl, line 5: {column} is not \S+ or \S+, as plan.json says"):
        check_trials(trials, four_parts.manifest, Path("trials.jsonl"))


def test_a_pair_lies_in_one_part(four_parts: Campaign) -> None:
    trials = four_parts.trials.copy()
    trials.loc[4, "profile"] = "paper-2018"
    with pytest.raises(DataError, match="the trials of one pair have different profiles"):
        check_trials(trials, four_parts.manifest, Path("trials.jsonl"))


def test_campaigns_are_compared_where_they_have_a_part_in_common(four_parts: Campaign, small: Path) -> None:
    assert decisive(four_parts, load(small)) == []
    elsewhere = in_parts(small, (Link.LAN,), (Profile.TRANSFER,))
    assert [one.what for one in decisive(four_parts, elsewhere)] == ["link", "profile"]
    assert is_fleeting("environment.links.wan.rtt_idle_us")
    assert not is_fleeting("environment.links.wan.rate_mbit_s")


def test_figure4_has_a_panel_a_profile_and_every_line_looks_different(four_parts: Campaign) -> None:
    figure = figure4.draw(scenarios([four_parts]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "profile sound",
        "profile paper-2018: as the 2018 design would have reported",
    ]
    for axes in figure.axes:
        assert len(axes.lines) == 4
        assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 4
    assert len(style.render(figure, "png")) > 10_000


def test_four_links_have_eight_lines_that_differ(small: Path) -> None:
    (axes,) = figure4.draw(scenarios([in_parts(small, tuple(Link), (Profile.SOUND,))])).axes
    assert len(axes.lines) == 8
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 8


@pytest.mark.system
def test_a_real_campaign_of_two_profiles(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        harness = Program(tmp_path, Path(temporary))
        ended = harness.run("--set", 'profiles=["sound", "paper-2018"]')
        assert ended.code == 0, ended.said
        harness.wait_until_all_ended()
        sound, published = studies(scenarios([load(harness.campaign, samples=True)]))
    assert [one.scenario.place for one in (sound, published)] == [
        Place(Link.LOOPBACK, profile, Boundary.SECCOMP) for profile in TWO_PROFILES
    ]
    for one in (sound, published):
        assert one.scenario.complete_blocks == 2
        assert len(one.scenario.pairs) == 4
    order = published.scenario.rows[published.scenario.rows["block_id"] == "0.000"].sort_values("sequence")
    assert order["stack"].tolist() == ["ssa", "ssa", "openssl", "openssl"]
    assert sentences.judgement(published.verdict).startswith("As the 2018 design would have reported")
    assert sentences.judgement(sound.verdict).startswith("Underpowered")


def test_power_is_asked_of_each_part_that_can_be_judged() -> None:
    """On the recorded campaign of both profiles, on two links."""
    done = CliRunner().invoke(app, ["power", str(RECORDED), "--precision", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = [(one["link"], one["profile"]) for one in json.loads(done.stdout)]
    assert found == [("lan", "sound"), ("wan", "sound")]
