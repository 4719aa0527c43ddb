"""Handshakes a second and CPU time for each, full and resumed, TLS 1.3.

One handshake is: connect, TLS handshake with the chain and the name checked, one byte from the server, close.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.machine import CpuMeter
from benchmarks.records import Role
from benchmarks.rounds import CELLS, Cell, Findings, alternate, by_party, open_scenes, succeeded
from benchmarks.scenes import FULL, RESUMED, Scene

SIZES = {"rounds": 5, "handshakes": 300, "threads": 8}
QUICK = {"rounds": 1, "handshakes": 8, "threads": 2}
_MS_PER_S = 1000


def measure(sizes: Mapping[str, int], findings: Findings) -> None:
    """Fill the findings."""
    with ExitStack() as stack:
        scenes = open_scenes(CELLS, stack, findings)

        def one(cell: Cell) -> None:
            for case in (FULL, RESUMED):
                _warm_up(scenes[cell], case, sizes["threads"])
                _one(cell, scenes[cell], case, sizes, findings)

        alternate(list(scenes), sizes["rounds"], one, findings)


def _handshakes(scene: Scene, case: str, count: int, threads: int) -> dict[str, float]:
    port, resume = scene.ports[case], case == RESUMED
    answer = scene.connector.ask(do="handshakes", port=port, count=count, threads=threads, resume=resume)
    succeeded(answer, count)
    return answer


def _warm_up(scene: Scene, case: str, threads: int) -> None:
    """Caches fill; and whoever resumes has a session to begin with."""
    _handshakes(scene, case, 2 * threads, threads)
    scene.listeners[case].ask(do="counts")


def _one(cell: Cell, scene: Scene, case: str, sizes: Mapping[str, int], findings: Findings) -> None:
    count = sizes["handshakes"]
    meter = CpuMeter(scene.parties)
    answer = _handshakes(scene, case, count, sizes["threads"])
    used = meter.read()
    counted = scene.listeners[case].ask(do="counts")
    resumed = counted["resumed"] if cell.role is Role.CLIENT else answer["resumed"]
    quantities = {
        ("handshakes per second", "1/s"): count / answer["seconds"],
        ("resumed", "%"): 100 * resumed / count,
        **by_party(scene, used, "CPU per handshake", _MS_PER_S / count, "ms"),
    }
    findings.rows.add(cell.subject, cell.role, case, quantities)
