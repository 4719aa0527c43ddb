"""What is left to a process that has hardened itself: tried in a real one, and compared with what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssa_impl.hardening import landlock
from ssa_impl.hardening.kernel import CannotHarden
from ssa_impl.hardening.process import Hardening, check

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 90
NET_BIND_SERVICE, DAC_READ_SEARCH, SYS_PTRACE = 1 << 10, 1 << 2, 1 << 19
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root has capabilities to give up")
needs_landlock = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock")


def confined(kind: str, directory: Path) -> dict[str, Any]:
    runtime = directory / "runtime"
    runtime.mkdir(mode=0o700)
    (directory / "secret").write_bytes(b"a user's own")
    command = [sys.executable, "-m", "tests.ssa_impl.hardening.confined", kind, str(runtime)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_landlock
def test_a_worker_can_do_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    found = confined("worker", tmp_path)
    root = os.geteuid() == 0
    signals = "EPERM" if landlock.abi() >= 6 else "done"
    assert found["tried"] == {
        "runtime sockets": "done",
        "tcp": "done",
        "low port": "done" if root else "EACCES",
        "thread and resolver": "done",
        "memfd": "done",
        "system library": "done",
        "a user's file": "EACCES",
        "a file elsewhere": "EACCES",
        "a file in the runtime directory": "EACCES",
        "exec": "EPERM",
        "fork": "EPERM",
        "another's program": "EACCES",
        "another's signal": signals,
        "raw socket": "EPERM",
        "packet socket": "EAFNOSUPPORT",
        "clock": "EPERM",
        "another user": "EPERM",
    }


@needs_landlock
def test_what_a_worker_says_is_what_the_kernel_says(tmp_path: Path) -> None:
    found = confined("worker", tmp_path)
    said, status = found["said"], found["status"]
    assert said["missing"] == []
    assert said["landlock_abi"] == landlock.abi()
    assert said["filtered"]
    assert status["Seccomp"].strip() == "2"
    assert status["NoNewPrivs"].strip() == "1"
    assert found["described"] == (
        f"user {os.geteuid()}, {'CAP_NET_BIND_SERVICE' if os.geteuid() == 0 else 'no capabilities'}, no new privileges,"
        f" not traceable, Landlock {landlock.abi()}, seccomp filter"
    )


@needs_root
@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("worker", NET_BIND_SERVICE),
        ("keeper", DAC_READ_SEARCH),
        ("parent", NET_BIND_SERVICE | DAC_READ_SEARCH | SYS_PTRACE),
    ],
)
def test_each_process_keeps_the_capabilities_that_it_names(kind: str, kept: int, tmp_path: Path) -> None:
    status = confined(kind, tmp_path)["status"]
    sets = {name: int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapInh")}
    to_children = kept if kind == "parent" else 0
    assert sets == {"CapPrm": kept, "CapEff": kept, "CapBnd": kept, "CapInh": to_children}


def test_what_a_process_says_of_itself_survives_the_way() -> None:
    said = Hardening(7, ("CAP_NET_BIND_SERVICE",), 4, filtered=True, missing=("no moon",))
    assert Hardening.from_json(said.to_json()) == said


def test_what_is_missing_is_said() -> None:
    said = Hardening(7, (), missing=("this kernel has no Landlock",)).describe()
    assert said == (
        "user 7, no capabilities, no new privileges, not traceable, no Landlock, no seccomp filter;"
        " this kernel has no Landlock"
    )


def test_a_demand_is_checked_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    check(require_landlock=False)
    with pytest.raises(CannotHarden, match=r"daemon\.require_landlock"):
        check(require_landlock=True)
