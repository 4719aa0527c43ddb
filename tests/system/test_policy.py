"""The administrator's files over real programs: who has which profile, and what becomes of bad files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.daemons import Daemon, Zygote, environment, ssad_command
from tests.system.servers import Server

StartZygote = Callable[[Daemon], Zygote]
Govern = Callable[[str], Daemon]
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
PYTHON = os.path.realpath(sys.executable)
STRICT = """
[profile.strict]
version_min = "1.3"

[[application]]
executable = "{executable}"
profile = "strict"
"""


@pytest.fixture
def govern(tmp_path: Path) -> Iterator[Govern]:
    """Start a daemon under a policy."""
    started: list[Daemon] = []

    def start(text: str) -> Daemon:
        file = tmp_path / "ssa.toml"
        file.write_text(text)
        started.append(Daemon(2, file))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()
        daemon.close()


def test_a_program_has_the_profile_of_its_executable(
    govern: Govern, start_zygote: StartZygote, web: Server, ca: str
) -> None:
    zygote = start_zygote(govern(STRICT.format(executable=PYTHON)))
    failed, why = zygote.run("ask_for_version", ca=ca, low=TLS_1_2)
    assert failed == "EPROTO"
    assert "strict" in why
    assert zygote.run("tighten", port=web.port, ca=ca, low=TLS_1_3, high=TLS_1_3) == ["", TLS_1_3]


def test_another_program_has_the_default(govern: Govern, start_zygote: StartZygote, web: Server, ca: str) -> None:
    zygote = start_zygote(govern(STRICT.format(executable="/usr/bin/another")))
    assert zygote.run("tighten", port=web.port, ca=ca, low=TLS_1_2, high=TLS_1_2) == ["", TLS_1_2]


def test_a_user_has_the_profile_of_his(govern: Govern, start_zygote: StartZygote, ca: str) -> None:
    rule = STRICT.format(executable=PYTHON).replace(f'executable = "{PYTHON}"', f"user = {os.getuid()}")
    failed, why = start_zygote(govern(rule)).run("ask_for_version", ca=ca, low=TLS_1_2)
    assert failed == "EPROTO"
    assert "strict" in why


def test_processes_that_come_by_a_socket_keep_its_profile(
    govern: Govern, start_zygote: StartZygote, web: Server, ca: str
) -> None:
    zygote = start_zygote(govern(STRICT.format(executable=PYTHON)))
    assert zygote.run("fork_before_connect", port=web.port, ca=ca)


def test_bad_files_are_all_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "ssa.toml"
    file.write_text('[profile.default]\nversion_mini = "1.2"\nverify_depth = "deep"\n')
    done = subprocess.run(
        ssad_command(tmp_path / "control.sock", 1, file),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    complaints = done.stderr.splitlines()
    assert [f"{file}:{line}" in said for line, said in zip((2, 3), complaints, strict=True)] == [True, True]
    assert "version_min" in complaints[0]


def test_a_user_has_files_of_his_own(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "ssa"
    folder.mkdir(parents=True)
    (folder / "ssa.toml").write_text("nonsense")
    done = subprocess.run(
        ssad_command(tmp_path / "control.sock", 1, None, "--user"),
        capture_output=True,
        text=True,
        env=environment(HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path / ".config")),
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert str(folder / "ssa.toml") in done.stderr
