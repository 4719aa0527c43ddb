"""Every command of the SSA with standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import streams
from tests.streams import BROKEN, CLOSED, FULL, KINDS

SAID = {
    CLOSED: "{program}: cannot write: Bad file descriptor\n",
    FULL: "{program}: cannot write: No space left on device\n",
    BROKEN: "",
}
PRINTING = {
    "ssactl": (["--version"], ["check", "--help"]),
    "ssad": (["--help"],),
    "ssa": (["run", "--help"], ["doctor", "--json"]),
}
REFUSING = {
    "ssactl": (["check", "/dev/null/none"], 1),
    "ssad": (["--policy", "/dev/null/none"], 2),
    "ssa": (["run", "--", "/dev/null/none"], 126),
}


def run(program: str, arguments: Sequence[str], **kinds: str) -> subprocess.CompletedProcess[str]:
    return streams.run(f"ssa_impl.cli.{program}", arguments, **kinds)


@pytest.mark.parametrize("stdout", KINDS)
@pytest.mark.parametrize("program", PRINTING)
def test_what_cannot_be_written_is_no_success(program: str, stdout: str) -> None:
    for arguments in PRINTING[program]:
        ran = run(program, arguments, stdout=stdout)
        assert (ran.returncode, ran.stderr) == (1, SAID[stdout].format(program=program)), arguments


@pytest.mark.parametrize("stderr", KINDS)
@pytest.mark.parametrize("program", REFUSING)
def test_nobody_who_hears_why_changes_no_exit_code(program: str, stderr: str) -> None:
    arguments, code = REFUSING[program]
    ran = run(program, arguments, stderr=stderr)
    assert (ran.returncode, ran.stdout) == (code, "")


def test_all_streams_closed_at_once(tmp_path: Path) -> None:
    """No file that is opened takes a standard number, to be written to by mistake."""
    policy = tmp_path / "ssa.toml"
    policy.write_text("nonsense")
    assert run("ssactl", ["check", str(policy)], stdin=CLOSED, stdout=CLOSED, stderr=CLOSED).returncode == 1
    assert policy.read_text() == "nonsense"


def test_a_program_has_the_closed_streams_of_whoever_started_it() -> None:
    seen = "import os, sys; os._exit(10 * os.path.exists('/proc/self/fd/1') + (sys.stdin is None))"
    ran = run("ssa", ["run", "--boundary", "preload", "--", sys.executable, "-c", seen], stdin=CLOSED, stdout=CLOSED)
    assert ran.returncode == 1, ran.stderr


@pytest.mark.parametrize("stdout", KINDS)
def test_a_daemon_that_cannot_say_that_it_is_ready_does_not_stay(stdout: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own are too deep for a socket
        ran = run("ssad", ["--workers", "1", "--socket", f"{place}/control.sock"], stdout=stdout)
        assert ran.returncode == 3
        assert ran.stderr.startswith("ssad: cannot say on standard output that it is ready: ")
        assert not list(Path(place).iterdir())
