import pytest

from harness.forecast import Clock, campaign_s, in_words, trial_cost_s, warm_up_level
from harness.plan import load_preset


def test_more_and_larger_takes_longer() -> None:
    assert trial_cost_s(2, 1_000_000) > trial_cost_s(1, 1_000_000)
    assert trial_cost_s(2, 9_000_000) > trial_cost_s(2, 1_000_000)
    assert campaign_s(load_preset("smoke")) < campaign_s(load_preset("standard")) < campaign_s(load_preset("paper"))


def test_two_boundaries_take_twice_as_many_trials() -> None:
    one, both = (load_preset("standard", {"boundary": boundary}) for boundary in ("seccomp", "both"))
    assert both.trials == 2 * one.trials
    assert 1.8 < campaign_s(both) / campaign_s(one) < 2


def test_every_part_takes_its_time_and_a_wan_more() -> None:
    one = campaign_s(load_preset("standard", {"link": "lan"}))
    four = campaign_s(load_preset("standard", {"links": ["lan", "wan"], "profiles": ["sound", "paper-2018"]}))
    assert 4 * one - 60 < four < 6 * one
    assert campaign_s(load_preset("standard", {"link": "wan"})) > one


def test_presets_promise_what_the_readme_says() -> None:
    assert campaign_s(load_preset("smoke")) <= 40
    assert 200 <= campaign_s(load_preset("standard")) <= 360
    assert campaign_s(load_preset("paper")) < 3600


def test_the_clock_goes_by_its_own_speed() -> None:
    clock = Clock(1_000_000, now_s=100.0)
    expected = trial_cost_s(4, 1_000_000)
    assert clock.left_s([4], 100.0) == pytest.approx(expected)
    clock.done(4)
    assert clock.left_s([4, 4], 107.0) == pytest.approx(14.0)


def test_the_warm_up_takes_the_middle() -> None:
    assert warm_up_level(load_preset("smoke")) == 5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (-3, "0 s"), (89, "89 s"), (91, "2 min"), (3580, "1 h 00 min"), (3900, "1 h 05 min")],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
