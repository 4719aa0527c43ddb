"""``ssa``: what starts with every program imports no more than it needs, and which boundary is chosen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ssa_impl.boundary import probe
from ssa_impl.boundary.preload import launch
from ssa_impl.boundary.probe import SeccompTrial
from ssa_impl.cli import ssa
from tests.system.daemons import environment

Choose = Callable[..., str]
HEAVY = {"trio", "OpenSSL", "typer", "rich", "asyncio", "ssl"}


def imported(tmp_path: Path, *options: str) -> set[str]:
    """Return the modules that `ssa run` imports before the program starts."""
    command = [sys.executable, "-X", "importtime", "-m", "ssa_impl.cli.ssa", "run", "--socket", str(tmp_path), *options]
    done = subprocess.run([*command, "--", "true"], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.split("|")[-1].strip() for line in lines}


def test_under_preload_next_to_nothing_is_imported(tmp_path: Path) -> None:
    modules = imported(tmp_path, "--boundary", "preload")
    assert "ssa_impl.boundary.preload.launch" in modules
    assert not modules & (HEAVY | {"ctypes", "dataclasses", "socket", "subprocess", "ssa_impl.boundary.seccomp.launch"})


@pytest.mark.parametrize("boundary", ["seccomp", "auto"])
def test_under_seccomp_no_event_loop_is_imported(tmp_path: Path, boundary: str) -> None:
    modules = imported(tmp_path, "--boundary", boundary)
    assert "ssa_impl.boundary.seccomp.launch" in modules
    assert not modules & HEAVY


class Started(Exception):
    """Instead of a program: what would have run it."""


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Choose:
    """Return a function that runs `ssa run` on a machine with these obstacles."""

    def run(obstacle: str, *options: str, has_library: bool = True) -> str:
        def started_by(boundary: str) -> object:
            def start(*_arguments: object) -> None:
                raise Started(boundary)

            return start

        library = tmp_path / "library.so"
        library.write_text("") if has_library else library.unlink(missing_ok=True)
        monkeypatch.setattr(launch, "LIBRARY", library)
        monkeypatch.setattr(probe, "try_seccomp", lambda: SeccompTrial(obstacle))
        monkeypatch.setattr("ssa_impl.boundary.preload.launch.run", started_by("preload"))
        monkeypatch.setattr("ssa_impl.boundary.seccomp.launch.run", started_by("seccomp"))
        monkeypatch.setattr(sys, "argv", ["ssa", "run", "--socket", str(tmp_path), *options, "--", "true"])
        with pytest.raises(Started) as started:
            ssa.main()
        return str(started.value)

    return run


def test_auto_takes_seccomp_where_it_works(choose: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose("") == "seccomp"
    assert "using" not in capsys.readouterr().err


def test_auto_takes_preload_where_not_and_says_so(choose: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    assert choose("the container forbids seccomp(2)") == "preload"
    assert capsys.readouterr().err.endswith("\nssa: using the preload boundary: the container forbids seccomp(2)\n")


@pytest.mark.parametrize("boundary", ["seccomp", "preload"])
def test_a_boundary_can_be_forced(choose: Choose, boundary: str) -> None:
    assert choose("it does not work", "--boundary", boundary) == boundary


def test_neither_is_exit_code_3_with_both_reasons(choose: Choose, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        choose("no filters here", has_library=False)
    assert ended.value.code == 3
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("ssa: cannot supervise system calls: no filters here; and the library of the preload")
    assert "install a C compiler" in complaint


BAD_USAGE = (["run"], ["run", "--"], ["run", "--", ""], ["run", "--boundary", "other", "--", "true"], ["nonsense"])


@pytest.mark.parametrize("words", BAD_USAGE)
def test_bad_usage(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ssa", *words])
    with pytest.raises(SystemExit) as ended:
        ssa.main()
    assert ended.value.code == 2
    assert "usage: ssa" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["a" * 5000, "\udcff", "", "/dev/null/x"], ids=["long", "bytes", "empty", "nowhere"])
def test_a_socket_that_cannot_be_keeps_no_program_from_running(place: str) -> None:
    command = [sys.executable, "-m", "ssa_impl.cli.ssa", "run", "--socket", place, "--", "sh", "-c", "exit 7"]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert ran.returncode == 7
    (line,) = ran.stderr.splitlines()
    assert line.startswith("ssa: no daemon listens at ")


@pytest.mark.parametrize("words", [[], ["--help"], ["run", "--help"], ["doctor", "--help"]])
def test_help_is_short(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ssa", *words])
    with pytest.raises(SystemExit) as ended:
        ssa.main()
    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert 5 < len(said.splitlines()) < 30
