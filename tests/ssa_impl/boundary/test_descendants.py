"""Looking for the application's processes while they end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ssa_impl.boundary.seccomp import supervisor


def test_a_process_that_ends_between_two_looks_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    monkeypatch.setattr(supervisor, "_children", lambda pid, _thread: [gone.pid] if pid == os.getpid() else [])
    assert gone.pid in supervisor._descendants(os.getpid())


def test_children_and_grandchildren_are_found() -> None:
    script = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()']).pid, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        assert {child.pid, grandchild} <= set(supervisor._descendants(os.getpid()))
        child.communicate(b"\n\n")
