"""One benchmark from beginning to end: measured, and what is to be known of the circumstances."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import calls, connections, handshakes, machine, policies, relay
from benchmarks.records import Recording
from benchmarks.rounds import Findings, Say


@dataclass(frozen=True)
class Benchmark:
    """What is measured, and how much of it."""

    measure: Callable[[Mapping[str, int], Findings], None]
    sizes: Mapping[str, int]
    quick: Mapping[str, int]


BENCHMARKS = {
    "calls": Benchmark(calls.measure, calls.SIZES, calls.QUICK),
    "connections": Benchmark(connections.measure, connections.SIZES, connections.QUICK),
    "handshakes": Benchmark(handshakes.measure, handshakes.SIZES, handshakes.QUICK),
    "policies": Benchmark(policies.measure, policies.SIZES, policies.QUICK),
    "relay": Benchmark(relay.measure, relay.SIZES, relay.QUICK),
}


def record(name: str, *, quick: bool, rounds: int | None, say: Say) -> Recording:
    """Run one benchmark, with its own number of rounds unless told.

    BenchmarkError when what all of its subjects need cannot be had.
    """
    benchmark = BENCHMARKS[name]
    sizes = dict(benchmark.quick if quick else benchmark.sizes)
    sizes["rounds"] = rounds or sizes["rounds"]
    options = [*(["--quick"] if quick else []), *([f"--rounds {rounds}"] if rounds else [])]
    findings = Findings(say)
    started_at, begun, load_before = datetime.now(UTC), time.monotonic(), os.getloadavg()
    say(f"{name}: {', '.join(f'{size} {what}' for what, size in sizes.items())}")
    benchmark.measure(sizes, findings)
    return Recording(
        benchmark=name,
        command=" ".join(["python -m benchmarks run", name, *options]),
        quick=quick,
        started_at=started_at.isoformat(timespec="seconds"),
        duration_s=round(time.monotonic() - begun, 1),
        load_before=load_before,
        load_after=os.getloadavg(),
        sizes=sizes,
        environment=machine.environment(),
        rows=findings.rows.rows(),
        missing=tuple(findings.missing),
    )
