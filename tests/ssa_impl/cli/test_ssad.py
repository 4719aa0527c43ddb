"""What the daemon's command says when the daemon itself is at fault."""

from __future__ import annotations

import subprocess
import sys

BROKEN = """
from ssa_impl.cli import ssad
def run(*_):
    secret = "hunter" + "2"
    raise RuntimeError("a defect")
ssad.trio.run = run
ssad.main()
"""


def test_a_defect_shows_no_local_variables() -> None:
    ended = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback (most recent call last)")
    assert "hunter2" not in ended.stderr
