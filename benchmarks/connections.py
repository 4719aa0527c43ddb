"""Many connections at once: whether they all come up and stay, how long that takes, and what an idle one costs.

A few connections stand before memory and descriptors are read, so that what is made once is not counted; then come as
many more as ``connections`` says.  Afterwards one byte goes through every one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.machine import CpuMeter, descriptors, pss_bytes
from benchmarks.rounds import CELLS, Cell, Findings, alternate, succeeded
from benchmarks.scenes import FULL, Scene, scene
from benchmarks.subjects import require

SIZES = {"rounds": 3, "connections": 1000, "threads": 8, "before": 20}
QUICK = {"rounds": 1, "connections": 20, "threads": 2, "before": 2}
_KIB = 1024


def measure(sizes: Mapping[str, int], findings: Findings) -> None:
    """Fill the findings; every round has processes of its own, so that no memory is left from the one before."""

    def one(cell: Cell) -> None:
        require(cell.subject)
        assert cell.role is not None
        with scene(cell.subject, cell.role) as running:
            _one(cell, running, sizes, findings)

    alternate(CELLS, sizes["rounds"], one, findings)


def _one(cell: Cell, scene: Scene, sizes: Mapping[str, int], findings: Findings) -> None:
    count, threads, before = sizes["connections"], sizes["threads"], sizes["before"]
    _open(scene, before, threads)
    memory, open_descriptors = _memory(scene), descriptors(scene.subject_pids)
    meter = CpuMeter(scene.parties)
    seconds = _open(scene, count, threads)
    cpu = sum(value for party, value in meter.read().items() if party != "peer")
    grown = {party: (now - memory[party]) / count / _KIB for party, now in _memory(scene).items()}
    more = descriptors(scene.subject_pids) - open_descriptors
    succeeded(scene.connector.ask(do="move", direction="down", size=1, threads=threads), before + count)
    quantities = {
        ("open at once", ""): float(count),
        ("time to open all", "s"): seconds,
        ("CPU to open all", "s"): cpu,
        ("memory before", "MiB"): sum(memory.values()) / _KIB**2,
        ("memory per idle connection", "KiB"): sum(grown.values()),
        **{(f"memory per idle connection, {party}", "KiB"): value for party, value in grown.items()},
        ("descriptors per connection", ""): more / count,
    }
    findings.rows.add(cell.subject, cell.role, f"{count} connections", quantities)


def _open(scene: Scene, count: int, threads: int) -> float:
    answer = scene.connector.ask(do="open", port=scene.ports[FULL], count=count, threads=threads)
    succeeded(answer, count)
    return float(answer["seconds"])


def _memory(scene: Scene) -> dict[str, int]:
    """Of whatever does the TLS, by party."""
    ours = {party: pids for party, pids in scene.parties.items() if set(pids) & set(scene.subject_pids)}
    return {party: pss_bytes(pids) for party, pids in ours.items()}
