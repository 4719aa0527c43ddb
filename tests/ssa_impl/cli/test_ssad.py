"""What the daemon's command says when the daemon itself is at fault."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BROKEN = """
from ssa_impl.cli import ssad
def run(*_):
    secret = "hunter" + "2"
    raise RuntimeError("a defect")
ssad.trio.run = run
ssad.main()
"""


def test_a_watchdog_without_a_time_is_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssa_impl.cli.ssad", "--socket", str(tmp_path / "s")]
    variables = {**os.environ, "WATCHDOG_USEC": "soon"}
    ended = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert ended.returncode == 3
    assert ended.stderr == "ssad: WATCHDOG_USEC of the environment is no number of microseconds\n"


def test_a_defect_shows_no_local_variables() -> None:
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback (most recent call last)")
    assert "hunter2" not in ended.stderr
