from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis import notebook
from analysis.errors import NotEnoughDataError
from analysis.estimates import Missing
from analysis.figures import figure4, forest, style
from analysis.figures.catalogue import CATALOGUE, Entry
from analysis.load import load
from analysis.pooling import scenario, scenarios
from analysis.study import Study, study
from analysis.synthetic import Design, campaign
from analysis.tables import regression
from tests.analysis.conftest import QUIET

ENTRIES = {entry.name: entry for entry in CATALOGUE}


@pytest.fixture(scope="module")
def studies(full: Path, small: Path, empty: Path) -> dict[str, Study]:
    paths = {"full": full, "small": small, "empty": empty}
    return {name: study(scenario([load(path, samples=True)])) for name, path in paths.items()}


def labels(figure: Figure) -> list[str]:
    return [str(line.get_label()) for line in figure.axes[0].get_lines()]


def test_figure4_has_the_papers_axes(full: Path) -> None:
    figure = figure4.draw(scenarios([load(full)]))
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Number of Processes"
    assert axes.get_ylabel() == "Time Elapsed (s)"
    assert axes.get_xlim() == (0, 100)
    assert axes.get_ylim() == (0, 1.0)
    assert labels(figure) == ["SSA (local)", "OpenSSL (local)"]


def test_figure4_has_the_papers_four_lines_and_says_what_is_emulated(lan: Path, remote: Path) -> None:
    figure = figure4.draw(scenarios([load(lan), load(remote)]))
    assert labels(figure) == [
        "SSA (local, emulated)",
        "OpenSSL (local, emulated)",
        "SSA (remote)",
        "OpenSSL (remote)",
    ]
    looks = {(str(line.get_linestyle()), str(line.get_marker())) for line in figure.axes[0].get_lines()}
    assert len(looks) == 4
    assert "two network namespaces" in figure._supxlabel.get_text()


def test_loopback_and_lan_together_are_told_apart(full: Path, lan: Path) -> None:
    figure = figure4.draw(scenarios([load(full), load(lan)]))
    lines = figure.axes[0].get_lines()
    assert len(set(labels(figure))) == len({line.get_color() for line in lines}) == 4


def test_the_axes_grow_when_the_data_do_not_fit(full: Path) -> None:
    loaded = load(full)
    slow = replace(loaded, trials=loaded.trials.assign(elapsed_ns=loaded.trials["elapsed_ns"] * 3))
    axes = figure4.draw(scenarios([slow])).axes[0]
    assert axes.get_ylim()[1] > 2.5
    assert axes.get_ylim()[0] == 0
    assert axes.get_xlim() == (0, 100)


def test_means_and_bands_by_hand(small: Path) -> None:
    from scipy import stats

    rows = scenario([load(small)]).rows
    table = figure4.means(rows)
    seconds = rows[(rows["impl"] == "SSA") & (rows["n"] == 10)]["ms"] / 1000
    low, high = stats.t.interval(0.95, len(seconds) - 1, seconds.mean(), stats.sem(seconds))
    found = table.loc["SSA", 10]
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((seconds.mean(), low, high))


def test_an_aa_figure_names_both_arms(aa: Path) -> None:
    assert labels(figure4.draw(scenarios([load(aa)]))) == ["OpenSSL B (local)", "OpenSSL A (local)"]


def test_nothing_to_draw_is_said(empty: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="at least one complete pair"):
        figure4.draw(scenarios([load(empty)]))


def test_the_same_data_give_the_same_bytes_without_a_date(studies: dict[str, Study]) -> None:
    for kind in style.FORMATS:
        first, second = (style.render(figure4.draw([studies["small"].scenario]), kind) for _ in range(2))
        assert first == second
        assert not re.search(rb"20\d\d-\d\d-\d\d|CreationDate|[Mm]atplotlib v?\d", first)


def test_synthetic_data_are_marked_in_the_picture(studies: dict[str, Study]) -> None:
    for entry in CATALOGUE:
        figure = entry.draw(studies["small"])
        assert "SYNTHETIC" in [text.get_text() for text in figure.texts], entry.name


@pytest.mark.parametrize("name", list(ENTRIES))
@pytest.mark.parametrize("data", ["full", "small"])
def test_every_figure_is_drawn_and_not_blank(studies: dict[str, Study], data: str, name: str) -> None:
    if (data, name) == ("full", "failures"):
        with pytest.raises(NotEnoughDataError, match="every trial ended well"):
            ENTRIES[name].draw(studies[data])
        return
    image = Image.open(io.BytesIO(style.render(ENTRIES[name].draw(studies[data]), "png"))).convert("L")
    pixels = np.asarray(image)
    assert pixels.shape[0] > 300
    assert 0.01 < np.mean(pixels < 250) < 0.6


@pytest.mark.parametrize("name", list(ENTRIES))
def test_every_figure_says_when_there_is_nothing(studies: dict[str, Study], name: str) -> None:
    with pytest.raises(NotEnoughDataError):
        ENTRIES[name].draw(studies["empty"])


def test_every_figure_has_a_title_and_says_how_to_read_it() -> None:
    assert len(ENTRIES) == len(CATALOGUE)
    for entry in CATALOGUE:
        assert entry.title
        assert len(entry.reading) > 60


def test_arms_differ_in_grey() -> None:
    assert style.ARM_MARKERS[0] != style.ARM_MARKERS[1]
    assert style.ARM_DASHES[0] != style.ARM_DASHES[1]


def axis_labels(entry: Entry, found: Study) -> set[str]:
    return {label for axes in entry.draw(found).axes for label in (axes.get_xlabel(), axes.get_ylabel()) if label}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pair-differences", {"Number of Processes", "SSA minus OpenSSL (ms)"}),
        ("block-slopes", {"Block", "Slope (ms per process)", "ms per process"}),
        ("residuals", {"Fitted (ms)", "Order of execution (trial)", "Residual (ms)"}),
        ("quantiles", {"Normal quantile", "Standardised residual"}),
        ("cpu", {"CPU time (ms per MB; 95 % CI of the blocks' mean)"}),
        ("link", {"Number of Processes", "Goodput (Mbit/s)", "Segments resent per trial"}),
        ("failures", {"Number of Processes", "Trials"}),
    ],
)
def test_axes_carry_their_units(studies: dict[str, Study], name: str, expected: set[str]) -> None:
    assert axis_labels(ENTRIES[name], studies["small"]) == expected


def test_phases_have_a_panel_each(studies: dict[str, Study]) -> None:
    titles = [axes.get_title(loc="left") for axes in ENTRIES["phases"].draw(studies["small"]).axes]
    assert titles == ["TCP connected", "TLS done, peer verified", "First byte", "Last byte"]


def drawn_without_samples(path: Path) -> Callable[[], Figure]:
    found = study(scenario([load(path)]))
    return lambda: ENTRIES["phases"].draw(found)


def test_phases_need_samples(small: Path) -> None:
    with pytest.raises(NotEnoughDataError, match="samples"):
        drawn_without_samples(small)()


def titled(figure: Figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


def test_every_figure_says_what_was_measured(lan: Path) -> None:
    found = study(scenario([load(lan, samples=True)]))
    for entry in CATALOGUE:
        if entry.name != "failures":
            said = "SSA against OpenSSL, lan link (emulated), profile sound; 10 levels of n, 10 blocks, 100 pairs"
            assert titled(entry.draw(found)) == said, entry.name


def test_failures_of_the_second_arm_alone_are_in_view(small: Path) -> None:
    loaded = load(small, samples=True)
    trials = loaded.trials
    is_baseline = (trials["stack"] == "openssl") & (trials["outcome"] != "ok")
    only_ssa = study(scenario([replace(loaded, trials=trials[~is_baseline].reset_index(drop=True))]))
    for axes in ENTRIES["failures"].draw(only_ssa).axes:
        assert axes.get_xlim()[1] >= trials["n"].max()


def test_the_level_in_a_label_is_the_judgements(full: Path) -> None:
    loaded = load(full)
    judgement = loaded.manifest.judgement.model_copy(update={"alpha": 0.1})
    found = study(scenario([replace(loaded, manifest=loaded.manifest.model_copy(update={"judgement": judgement}))]))
    _, right = ENTRIES["block-slopes"].draw(found).axes
    assert right.get_title(loc="left") == "Difference, 90 % CI"
    (axes,) = ENTRIES["pair-differences"].draw(found).axes
    assert "90 % CI" in [text.get_text() for text in axes.get_legend().get_texts()]
    heads = [str(column.header) for column in regression(found.verdict).columns]
    assert heads == ["estimate", "value", "90 % CI", "p", "how"]
    assert "90 % CI" in notebook.estimates(found.verdict).columns


def test_long_names_are_cut_nowhere(injected: Path) -> None:
    found = study(scenario([load(injected, samples=True)]))
    for entry in CATALOGUE:
        if entry.name != "failures":
            figure = entry.draw(found)
            figure.draw_without_rendering()
            boxes = [legend.get_window_extent() for legend in figure.legends]
            boxes += [axes.yaxis.label.get_window_extent() for axes in figure.axes]
            for box in boxes:
                assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, entry.name
                assert box.x1 <= figure.bbox.x1, entry.name


def test_more_campaigns_than_a_panel_holds_have_one_each(lan: Path, full: Path, made: Callable[..., Path]) -> None:
    more = [made(f"more-{seed}", campaign(Design(levels=(1, 2, 3), blocks=2), QUIET, seed)) for seed in range(60, 63)]
    loaded = [load(path) for path in (lan, full, *more)]
    machines = [
        replace(one, environment=one.environment.model_copy(update={"fingerprint": {"machine": str(k)}}))
        for k, one in enumerate(loaded)
    ]
    found = scenarios(machines)
    figure = figure4.draw(found)
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == [f"{one.names[0]},\nprofile sound" for one in found]
    assert all(len(axes.get_lines()) == 2 for axes in figure.axes if axes.get_visible())
    for axes in figure.axes[2:5]:
        assert axes.get_xlabel() == "Number of Processes"
        assert any(label.get_visible() for label in axes.get_xticklabels())


def test_the_forest_has_a_row_a_comparison_and_no_interval_out_of_sight(
    lan: Path, remote: Path, small: Path, empty: Path
) -> None:
    found = [study(one) for one in scenarios([load(path) for path in (lan, remote, small)])]
    found.append(study(scenario([load(empty)])))
    figure = forest.draw(found)
    left, right = figure.axes
    assert [label.get_text().split(",")[0] for label in left.get_yticklabels()] == [
        one.scenario.names[0] for one in found
    ]
    assert "lan (emulated), sound" in left.get_yticklabels()[0].get_text()
    texts = [text.get_text() for text in (*left.texts, *right.texts)]
    assert texts.count("not enough data") == 2
    assert left.get_xlabel() == "Slope difference (ms per process)\n95 % CI; grey: the plan's margin"
    far = [replace_slope(found[1], -3.5)]
    assert [text.get_text()[:5] for text in forest.draw(far).axes[0].texts] == ["-3.50"]
    with pytest.raises(NotEnoughDataError):
        forest.draw(found[3:])


def replace_slope(found: Study, value: float) -> Study:
    slopes = found.verdict.slopes
    assert not isinstance(slopes, Missing)
    difference = slopes.difference.model_copy(update={"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1})
    verdict = found.verdict.model_copy(update={"slopes": slopes.model_copy(update={"difference": difference})})
    return replace(found, verdict=verdict)
