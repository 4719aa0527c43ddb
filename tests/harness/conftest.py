import random
from collections.abc import Callable
from typing import Any

import pytest

from harness.assemble import Identity, Observed, Setting
from harness.order import PlannedTrial, make_order
from harness.plan import Plan, build
from harness.records import Link, Stack
from harness.validity import Terms

BODY_SHA256 = "ab" * 32


@pytest.fixture
def plan() -> Plan:
    return build({"levels": [1, 3], "blocks": 2, "size_bytes": 1000}, {}, "test")


@pytest.fixture
def terms() -> Terms:
    return Terms("TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519", "", False, "cd" * 32, "OpenSSL 4.0.3")


@pytest.fixture
def setting(plan: Plan, terms: Terms) -> Setting:
    return Setting(plan, "a-campaign", Link.LOOPBACK, "granian", BODY_SHA256, dict.fromkeys(plan.routes, terms))


@pytest.fixture
def trials(plan: Plan) -> list[PlannedTrial]:
    order = make_order(plan.levels, plan.blocks, plan.stacks, random.Random(plan.seed))
    return [trial for pair in order for trial in pair.trials]


@pytest.fixture
def report(terms: Terms) -> Callable[..., dict[str, Any]]:
    def make(process: int, **changes: object) -> dict[str, Any]:
        return {
            "process": process,
            "pid": 100 + process,
            "ok": True,
            "error": "",
            "errno": None,
            "released_offset_ns": 1000 * (process + 1),
            "tcp_offset_ns": 200_000,
            "tls_offset_ns": 300_000,
            "first_byte_offset_ns": 400_000,
            "last_byte_offset_ns": 500_000 + process,
            "body_bytes": 1000,
            "body_sha256": BODY_SHA256,
            "cpu_user_ns": 7,
            "cpu_system_ns": 5,
            "peak_rss_bytes": 4096,
            **{name: getattr(terms, name) for name in Terms.__dataclass_fields__},
            **changes,
        }

    return make


@pytest.fixture
def observe(report: Callable[..., dict[str, Any]]) -> Callable[..., Observed]:
    def make(n: int, **changes: object) -> Observed:
        observed = Observed(started_at="2026-11-23T12:00:00+00:00", started_ns=1_000)
        observed.release_ns, observed.ended_ns = 5_000, 2_000_000
        observed.reports = [report(process) for process in range(n)]
        for name, value in changes.items():
            setattr(observed, name, value)
        return observed

    return make


@pytest.fixture
def identify(trials: list[PlannedTrial]) -> Callable[..., Identity]:
    def make(stack: Stack, n: int, sequence: int = 0) -> Identity:
        planned = next(trial for trial in trials if (trial.stack, trial.n) == (stack, n))
        return Identity(planned, 1, sequence)

    return make
