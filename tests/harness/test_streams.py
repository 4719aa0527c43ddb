"""The harness and the analysis with standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.streams import BROKEN, CLOSED, FULL, KINDS, run

SAID = {
    CLOSED: "The operating system refused: [Errno 9] Bad file descriptor.\n",
    FULL: "The operating system refused: [Errno 28] No space left on device.\n",
    BROKEN: "",
}
PRINTING = {"harness": ["plan", "--preset", "smoke", "--json"], "analysis": ["--help"]}


@pytest.mark.parametrize("stdout", KINDS)
@pytest.mark.parametrize("program", PRINTING)
def test_what_cannot_be_written_is_no_success(program: str, stdout: str) -> None:
    ran = run(program, PRINTING[program], stdout=stdout)
    assert (ran.returncode, ran.stderr) == (1, SAID[stdout])


@pytest.mark.parametrize("stderr", KINDS)
@pytest.mark.parametrize("program", PRINTING)
def test_nobody_who_hears_why_changes_no_exit_code(program: str, stderr: str, tmp_path: Path) -> None:
    arguments = {"harness": ["check"], "analysis": ["all"]}[program]
    ran = run(program, [*arguments, str(tmp_path / "none")], stderr=stderr)
    assert (ran.returncode, ran.stdout) == (2, "")
