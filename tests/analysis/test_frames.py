from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import columns
from analysis.errors import DataError
from analysis.frames import Fate, Scenario, arm_names, derive, left_out, paired
from analysis.load import Campaign, Environment, load
from analysis.pooling import apart, scenario, scenarios
from analysis.synthetic import Design, Truth, campaign
from harness.records import Outcome, Stack, Trial

PLAN = campaign(Design(levels=(1, 2), blocks=1), Truth(), seed=1)
BASE, OTHER = (next(trial for trial in PLAN.trials if trial.arm == arm and trial.n == 1) for arm in (0, 1))


def fates(*tries: tuple[Outcome | None, Outcome | None]) -> list[str]:
    """The fates of the baseline's and the other's trial in each attempt; None: not run."""
    trials = []
    for attempt, outcomes in enumerate(tries, 1):
        for trial, outcome in zip((BASE, OTHER), outcomes, strict=True):
            if outcome is not None:
                update = {"attempt": attempt, "outcome": outcome, "sequence": len(trials)}
                trials.append(trial.model_copy(update=update))
    table = columns.frame(map(columns.row, trials), Trial)
    return list(derive(table, PLAN.manifest)["fate"])


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ([(Outcome.OK, Outcome.OK)], [Fate.USED, Fate.USED]),
        ([(Outcome.OK, None)], [Fate.ALONE]),
        ([(Outcome.FAILED, None)], [Fate.FAILED]),
        ([(Outcome.OK, Outcome.TIMEOUT)], [Fate.PARTNER, Fate.TIMEOUT]),
        ([(Outcome.INVALID, Outcome.INVALID)], [Fate.INVALID, Fate.INVALID]),
        ([(Outcome.ABORTED, Outcome.OK)], [Fate.ABORTED, Fate.PARTNER]),
        ([(Outcome.OK, Outcome.FAILED), (Outcome.OK, Outcome.OK)], [Fate.PARTNER, Fate.FAILED, Fate.USED, Fate.USED]),
        ([(Outcome.OK, Outcome.OK), (Outcome.OK, Outcome.OK)], [Fate.USED, Fate.USED, Fate.SURPLUS, Fate.SURPLUS]),
        (
            [(Outcome.OK, Outcome.FAILED), (Outcome.FAILED, Outcome.OK)],
            [Fate.PARTNER, Fate.FAILED, Fate.FAILED, Fate.PARTNER],
        ),
    ],
)
def test_only_whole_pairs_of_one_attempt_are_used(tries: list, expected: list[Fate]) -> None:
    assert fates(*tries) == [str(fate) for fate in expected]


OUTCOMES = st.one_of(st.none(), st.sampled_from(Outcome))


@settings(deadline=None)
@given(st.lists(st.tuples(OUTCOMES, OUTCOMES), max_size=4))
def test_used_trials_always_come_in_pairs_and_at_most_once(tries: list) -> None:
    found = fates(*tries) if any(outcome for pair in tries for outcome in pair) else []
    complete = sum(pair == (Outcome.OK, Outcome.OK) for pair in tries)
    assert found.count(str(Fate.USED)) == (2 if complete else 0)
    assert found.count(str(Fate.SURPLUS)) == 2 * max(0, complete - 1)


def test_units(small: Path) -> None:
    found = scenario([load(small)])
    row = found.rows.iloc[0]
    assert row["ms"] == row["elapsed_ns"] / 1e6
    assert row["megabytes"] == row["n"] * 1_000_000 / 1e6
    assert row["clients_s"] == row["cpu_clients_total_ns"] / 1e9


def test_pairs_are_other_minus_baseline(small: Path) -> None:
    found = scenario([load(small)])
    for _, pair in found.pairs.iterrows():
        mine = found.rows[(found.rows["block_id"] == pair["block_id"]) & (found.rows["pair"] == pair["pair"])]
        by_stack = mine.set_index("stack")["ms"]
        assert pair["diff"] == by_stack["ssa"] - by_stack["openssl"]


def test_rows_stand_in_the_order_of_execution(small: Path) -> None:
    assert scenario([load(small)]).rows["sequence"].is_monotonic_increasing


def test_all_trials_are_counted_once(small: Path) -> None:
    found = scenario([load(small)])
    assert int(left_out(found.trials).to_numpy().sum()) == len(found.trials)
    assert left_out(found.trials).index[0] == "used"
    assert "failed" in left_out(found.trials).index


def test_the_arm_is_told_by_the_stack_where_it_is_not_recorded(small: Path) -> None:
    loaded = load(small)
    without = loaded.trials.assign(arm=pd.array([None] * len(loaded.trials), dtype="Int64"))
    pd.testing.assert_series_equal(
        derive(without, loaded.manifest)["arm"], derive(loaded.trials, loaded.manifest)["arm"]
    )


def test_aa_arms_are_told_apart_by_the_recorded_arm(aa: Path) -> None:
    found = scenario([load(aa)])
    assert found.is_aa
    assert found.arms == ("OpenSSL A", "OpenSSL B")
    assert len(found.pairs) == 100


def test_aa_needs_the_recorded_arm(aa: Path) -> None:
    from analysis.validate import check_trials

    loaded = load(aa)
    without = loaded.trials.assign(arm=pd.array([None] * len(loaded.trials), dtype="Int64"))
    with pytest.raises(DataError, match="an A/A campaign needs 'arm'"):
        check_trials(without, loaded.manifest, Path("t"))


def test_complete_blocks(small: Path) -> None:
    loaded = load(small)
    assert scenario([loaded]).complete_blocks == 3
    block_0 = loaded.trials["block"] == 0
    one_missing = replace(loaded, trials=loaded.trials[~(block_0 & (loaded.trials["n"] == 10))])
    assert scenario([one_missing]).complete_blocks == 2


def renamed(loaded: Campaign, name: str = "another", **changes: object) -> Campaign:
    """The same data as another campaign."""
    manifest = loaded.manifest.model_copy(update={"campaign": name} | changes)
    return replace(loaded, directory=Path(name), manifest=manifest)


def test_campaigns_of_one_link_are_pooled_with_blocks_of_their_own(small: Path) -> None:
    loaded = load(small)
    (pooled,) = scenarios([loaded, renamed(loaded)])
    single = scenario([loaded])
    assert len(pooled.pairs) == 2 * len(single.pairs)
    assert pooled.complete_blocks == 2 * single.complete_blocks
    assert pooled.rows["block_id"].nunique() == 6


def test_links_are_scenarios_of_their_own(full: Path, lan: Path, remote: Path) -> None:
    found = scenarios([load(path) for path in (full, lan, remote)])
    assert [str(s.link) for s in found] == ["loopback", "lan", "remote"]
    assert all(isinstance(s, Scenario) for s in found)


def test_the_same_campaign_twice_is_refused(small: Path) -> None:
    with pytest.raises(DataError, match="are one campaign; give each only once"):
        scenarios([load(small), load(small)])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size_bytes": 5}, "size_bytes differs: 1000000 and 5"),
        ({"server": "nginx"}, "server differs: synthetic and nginx"),
        ({"stacks": (Stack.SSA, Stack.OPENSSL)}, "stacks differs: openssl, ssa and ssa, openssl"),
    ],
)
def test_what_differs_is_not_mixed(small: Path, changes: dict[str, object], says: str) -> None:
    campaigns = [load(small), renamed(load(small), **changes)]
    with pytest.raises(DataError, match=f"cannot share one fit: {says}"):
        scenario(campaigns)
    found = scenarios(campaigns)
    assert [one.names for one in found] == [(one.manifest.campaign,) for one in campaigns]
    (sentence,) = apart(found)
    assert sentence == f"{small} and another are judged apart: {says}"


def test_another_judgement_or_machine_is_not_mixed(small: Path) -> None:
    loaded = load(small)
    judgement = loaded.manifest.judgement.model_copy(update={"alpha": 0.01})
    with pytest.raises(DataError, match="judgement differs"):
        scenario([loaded, renamed(loaded, judgement=judgement)])
    environment = Environment(schema_version=1, fingerprint=loaded.environment.fingerprint | {"kernel": "6.1"})
    with pytest.raises(DataError, match=r"kernel differs: None and '6\.1'"):
        scenario([loaded, replace(renamed(loaded), environment=environment)])


def test_arm_names() -> None:
    assert arm_names(PLAN.manifest) == ("OpenSSL", "SSA")


def test_no_trials_make_empty_frames(empty: Path) -> None:
    found = scenario([load(empty)])
    assert len(found.rows) == len(found.pairs) == found.complete_blocks == 0
    assert left_out(found.trials).empty
    assert paired(found.rows).empty


def test_what_read_other_sizes_shares_no_fit(small: Path) -> None:
    loaded = load(small)
    larger = replace(loaded, plan=loaded.plan | {"read_size_bytes": 65536})
    smaller = replace(renamed(loaded), plan=loaded.plan | {"read_size_bytes": 1024})
    with pytest.raises(DataError, match="read_size_bytes differs: 65536 and 1024"):
        scenario([larger, smaller])
    assert len(scenarios([larger, smaller])) == 2
