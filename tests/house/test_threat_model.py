"""The threat model names tests: they exist, and it names the capabilities that the code keeps."""

from __future__ import annotations

import re
from pathlib import Path

from ssa_impl.hardening.capabilities import KEEPER, PARENT, WORKER

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "administrators" / "threat-model.md").read_text("utf-8")


def test_every_named_test_exists() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 5
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_every_attack_names_a_test() -> None:
    table = PAGE.partition("## What an attack gets")[2].partition("## ")[0]
    attacks = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert attacks
    assert [line for line in attacks if "`tests/" not in line] == []


def test_the_capabilities_are_the_codes() -> None:
    rows = {line.split("|")[1].strip(): line for line in PAGE.splitlines() if line.startswith("| ")}
    for process, kept in (("parent", PARENT), ("keeper", KEEPER), ("worker", WORKER)):
        assert set(re.findall(r"CAP_\w+", rows[process])) == {capability.name for capability in kept}


def test_the_unit_has_them_and_no_other() -> None:
    unit = (ROOT / "systemd" / "ssad.service").read_text("utf-8")
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        found = re.search(rf"^{key}=(.+)$", unit, re.MULTILINE)
        assert found is not None
        assert set(found[1].split()) == {capability.name for capability in PARENT}
