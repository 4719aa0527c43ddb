"""How long a campaign takes, before and while it runs.  Pure.

The constants are what a trial cost on two cores with the defaults (docs/harness.md says how they were
measured); while a campaign runs, its own speed replaces them.
"""

from __future__ import annotations

from collections.abc import Iterable

from harness.plan import Plan

START_S = 5.0  # server, daemon, fleets, preflight
ANALYSIS_S = 15.0
TRIAL_S = 0.06
PROCESS_S = 0.018  # each process of a trial on a lan of 1 Gbit/s: fork, download, hash, report
ROUND_TRIPS = 10  # of a trial on a wan: handshakes, and TCP's slow start over 1 MB
WIRE_BYTES_PER_S = 117e6  # 1 Gbit/s less headers


def trial_cost_s(n: int, size_bytes: int) -> float:
    """Of one trial with ``n`` processes."""
    return TRIAL_S + n * (PROCESS_S + max(0, size_bytes - 1_000_000) / WIRE_BYTES_PER_S)


def campaign_s(plan: Plan) -> float:
    """Of a whole campaign, when nothing fails."""
    pairs = plan.blocks * len(plan.boundaries)
    trials = 2 * pairs * sum(trial_cost_s(n, plan.size_bytes) for n in plan.levels)
    warm_up = len(plan.routes) * plan.warm_up * trial_cost_s(warm_up_level(plan), plan.size_bytes)
    far = 2 * pairs * len(plan.levels) * ROUND_TRIPS * plan.rtt_ms / 1000 * list(map(str, plan.every_link)).count("wan")
    parts = len(plan.every_link) * len(plan.every_profile)
    return parts * (START_S + warm_up + trials) + len(plan.every_profile) * far + ANALYSIS_S


def warm_up_level(plan: Plan) -> int:
    """The n of the trials before the first one: the middle of the plan's levels."""
    return plan.levels[len(plan.levels) // 2]


class Clock:
    """Time left, from the cost of what has been done and of what remains."""

    def __init__(self, size_bytes: int, now_s: float) -> None:
        self._size_bytes = size_bytes
        self._began_s = now_s
        self._done_cost_s = 0.0

    def done(self, n: int) -> None:
        """A trial with ``n`` processes has been run."""
        self._done_cost_s += trial_cost_s(n, self._size_bytes)

    def left_s(self, remaining: Iterable[int], now_s: float) -> float:
        """Until the trials with these n are done, too."""
        cost_s = sum(trial_cost_s(n, self._size_bytes) for n in remaining)
        speed = (now_s - self._began_s) / self._done_cost_s if self._done_cost_s else 1.0
        return cost_s * speed


def in_words(seconds: float) -> str:
    """``25 s``, ``4 min``, ``1 h 05 min``."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
