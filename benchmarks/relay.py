"""What it costs to carry bytes: throughput, and CPU seconds for each gigabyte (10^9 bytes).

Connections are open, and their first bytes have gone through them, before the clock starts.  *down* is from the
listening side to the connecting one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.machine import CpuMeter
from benchmarks.rounds import CELLS, Cell, Findings, alternate, by_party, open_scenes, succeeded
from benchmarks.scenes import FULL, Scene

SIZES = {"rounds": 5, "megabytes": 160, "connections": 16}
QUICK = {"rounds": 1, "megabytes": 4, "connections": 2}
_MB = 1_000_000
_OPENING_THREADS = 4


def measure(sizes: Mapping[str, int], findings: Findings) -> None:
    """Fill the findings."""
    with ExitStack() as stack:
        scenes = open_scenes(CELLS, stack, findings)

        def one(cell: Cell) -> None:
            for connections in (1, sizes["connections"]):
                _one(cell, scenes[cell], connections, sizes["megabytes"], findings)

        alternate(list(scenes), sizes["rounds"], one, findings)


def _one(cell: Cell, scene: Scene, connections: int, megabytes: int, findings: Findings) -> None:
    opening = {"port": scene.ports[FULL], "count": connections, "threads": _OPENING_THREADS}
    succeeded(scene.connector.ask(do="open", **opening), connections)
    _move(scene, "down", connections, _MB // 10)
    for direction in ("down", "up"):
        meter = CpuMeter(scene.parties)
        seconds = _move(scene, direction, connections, megabytes * _MB // connections)
        quantities = {
            ("throughput", "MB/s"): megabytes / seconds,
            **by_party(scene, meter.read(), "CPU per GB", 1000 / megabytes, "s"),
        }
        plural = "connection" if connections == 1 else "connections"
        findings.rows.add(cell.subject, cell.role, f"{direction}, {connections} {plural}", quantities)
    scene.connector.ask(do="close")


def _move(scene: Scene, direction: str, connections: int, size: int) -> float:
    """Seconds for ``size`` bytes over each connection."""
    answer = scene.connector.ask(do="move", direction=direction, size=size, threads=connections)
    succeeded(answer, connections)
    return float(answer["seconds"])
