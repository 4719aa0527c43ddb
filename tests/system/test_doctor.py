"""``ssa doctor`` on this machine, with a daemon and without, and inside of what stands in its way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ssa_impl.boundary.preload.build import build
from tests.system.daemons import Daemon, environment


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    """The library, built from the sources as they are now."""
    return build()


def ssa(*words: str) -> list[str]:
    return [sys.executable, "-m", "ssa_impl.cli.ssa", *words]


def run(*command: str) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def examine(*command: str) -> tuple[int, dict[str, Any]]:
    code, said, complaint = run(*command)
    assert complaint == ""
    examination: dict[str, Any] = json.loads(said)
    return code, {**{fact["name"]: fact for fact in examination["facts"]}, "boundary": examination["boundary"]}


def test_what_it_says_is_what_run_does(daemon: Daemon) -> None:
    code, found = examine(*ssa("doctor", "--json", "--socket", str(daemon.path)))
    assert code == 0
    assert found["ssad"]["ok"] is True
    assert found["preload library"]["ok"] is True
    said = run(*ssa("run", "--socket", str(daemon.path), "--", "true"))[2]
    assert ("using the preload boundary" in said) is (found["boundary"] == "preload")


def test_without_a_daemon_it_says_what_to_do(tmp_path: Path) -> None:
    code, said, _ = run(*ssa("doctor", "--socket", str(tmp_path / "control.sock")))
    assert code == 0
    lines = [line for line in said.splitlines() if line.startswith("no  ssad")]
    assert lines == [
        f"no  ssad                  cannot be reached at {tmp_path}/control.sock: No such file or directory:"
        " start it, or name its place with --socket"
    ]


def test_an_outer_notifier_is_seen_and_preload_chosen(daemon: Daemon) -> None:
    outer = ssa("run", "--boundary", "seccomp", "--socket", str(daemon.path), "--")
    code, found = examine(*outer, *ssa("doctor", "--json", "--socket", str(daemon.path)))
    assert code == 0
    assert found["seccomp notification"]["ok"] is False
    assert found["no outer notifier"]["ok"] is False
    assert found["pidfd_getfd"]["ok"] is None
    assert found["boundary"] == "preload"


def test_run_inside_of_an_outer_notifier_falls_back(daemon: Daemon) -> None:
    outer = ssa("run", "--boundary", "seccomp", "--socket", str(daemon.path), "--")
    inner = ssa("run", "--socket", str(daemon.path), "--", "sh", "-c", "echo $LD_PRELOAD")
    code, said, complaint = run(*outer, *inner)
    assert (code, said) == (0, f"{build()}\n")
    assert complaint == (
        "ssa: using the preload boundary: the process is already under another notifying filter:"
        " one per process tree is allowed\n"
    )


def test_falling_back_leaves_the_program_no_adopted_orphans(daemon: Daemon) -> None:
    """A supervisor adopts its descendants' orphans; a program that runs in its place must not."""
    source = "import ctypes; n = ctypes.c_int(-1); ctypes.CDLL(None).prctl(37, ctypes.byref(n)); print(n.value)"
    outer = ssa("run", "--boundary", "seccomp", "--socket", str(daemon.path), "--")
    inner = ssa("run", "--socket", str(daemon.path), "--", sys.executable, "-c", source)
    assert run(*outer, *inner)[:2] == (0, "0\n")


def test_the_exit_code_is_3_where_nothing_works(daemon: Daemon, tmp_path: Path) -> None:
    """Inside of an outer notifier, and with an installation that has no library."""
    package = tmp_path / "ssa_impl"
    source = Path(__file__).resolve().parents[2] / "ssa_impl"
    for path in source.rglob("*.py"):
        copy = package / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    outer = ssa("run", "--boundary", "seccomp", "--socket", str(daemon.path), "--")
    inner = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-P", "-m", "ssa_impl.cli.ssa"]
    code, said, complaint = run(*outer, *inner, "doctor", "--socket", str(daemon.path))
    assert (code, complaint) == (3, "")
    assert said.splitlines()[-1].startswith("ssa run uses no boundary: seccomp: the process is already under another")
    code, said, complaint = run(*outer, *inner, "run", "--socket", str(daemon.path), "--", "true")
    assert (code, said) == (3, "")
    assert "install a C compiler and run `python -m ssa_impl.boundary.preload.build`" in complaint
    code, said, complaint = run(*inner, "run", "--boundary", "preload", "--socket", str(daemon.path), "--", "true")
    assert (code, said) == (3, "")
    assert complaint.startswith("ssa: the library of the preload boundary was not built: install a C compiler")
