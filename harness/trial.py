"""One trial as it happens.

Prepare, release, collect, with the meters of all parties read around the window.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import trio

from harness import cpu
from harness.assemble import Observed
from harness.clients.target import Target
from harness.ensemble import Ensemble
from harness.errors import PartyLostError
from harness.links import Link
from harness.parties import Proxy
from harness.records import Boundary
from harness.routes import Route


class Meters:
    """The CPU clocks and counters around the window, apart for every party."""

    def __init__(self, ensemble: Ensemble, link: Link, route: Route) -> None:
        self._link = link
        self._pids: dict[str, Sequence[int]] = {}
        if (server := ensemble.server_of(route)) is not None:
            self._pids["server"] = server.pids()
        if (tls := ensemble.tls_of(route)) is not None:
            self._pids["daemon"] = tls.pids
        if route.boundary is Boundary.SECCOMP:  # preloaded, it is in the clients themselves
            self._pids["boundary"] = [ensemble.fleets[route].pid]
        if link.emulator_pid is not None:
            self._pids["emulator"] = [link.emulator_pid]
        for pids in self._pids.values():
            cpu.reset_peak_rss(pids)
        self._counters = link.counters()
        self._before = {party: cpu.snapshot(pids) for party, pids in self._pids.items()}

    def read(self, observed: Observed) -> None:
        """At the window's end."""
        after = {party: cpu.snapshot(pids) for party, pids in self._pids.items()}
        observed.link = self._link.counters() - self._counters
        for party, pids in self._pids.items():
            setattr(observed, party, cpu.used(self._before[party], after[party], cpu.peak_rss_bytes(pids)))


async def run_trial(
    ensemble: Ensemble, link: Link, route: Route, n: int, timeout_s: float, *, held_back_ns: int = 0
) -> Observed:
    """Run one trial to its end, whatever that is; only what has been lost for good is missing afterwards.

    ``held_back_ns``: the clients begin so much later than the release (a plan that injects a delay).
    """
    observed = Observed(load_1min=os.getloadavg()[0])
    try:
        async with ensemble.watched(route):
            target = replace(ensemble.target_of(route), held_back_ns=held_back_ns)
            await _three_steps(ensemble, link, observed, (route, target, n, timeout_s))
    except PartyLostError as error:
        observed.lost = str(error)
    observed.ended_ns = time.monotonic_ns()
    return observed


async def _three_steps(
    ensemble: Ensemble, link: Link, observed: Observed, what: tuple[Route, Target, int, float]
) -> None:
    route, target, n, timeout_s = what
    fleet = ensemble.fleets[route]
    ready = await fleet.prepare(target, n, timeout_s)
    if ready["in_time"]:
        meters = Meters(ensemble, link, route)
        done = await fleet.release(timeout_s)
        meters.read(observed)
        observed.link_changed = await trio.to_thread.run_sync(link.changed)
        observed.release_ns = int(done["release_ns"])
    # Those that never became ready have no time left: they are killed, and reported as late.
    observed.reports = await fleet.collect(timeout_s if ready["in_time"] else 0.0)
    if (proxy := ensemble.proxies.get(route.stack)) is not None:
        await _ask_proxy(proxy, observed.reports, timeout_s)


async def _ask_proxy(proxy: Proxy, reports: Sequence[dict[str, Any]], timeout_s: float) -> None:
    """What each connection negotiated, and what the proxy has to say where one failed, into the reports."""
    ports = [report["local_port"] for report in reports if report["ok"]]
    terms, complaints = await proxy.tell(ports, timeout_s)
    for report in reports:
        if report["ok"]:
            report.update(terms.get(report["local_port"], {}), openssl=proxy.ready["openssl"])
        elif complaints:
            report["error"] += f" The {proxy.name} says: {complaints[-1]}."
