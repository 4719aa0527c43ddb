"""What ``ssactl`` says to somebody who may not ask."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

AS_NOBODY = """
import contextlib, io, os
from ssa_impl.cli import ssactl
with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(SystemExit):
    ssactl.app(["check", "/dev/null"])  # imports what nobody may not be able to read
os.setresuid(65534, 65534, 65534)
ssactl.main()
"""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a directory that everybody may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def ssactl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *arguments], capture_output=True, text=True, check=False, cwd="/"
    )


def test_another_user_is_told_who_may_talk_to_the_daemon(place: Path) -> None:
    control = place / "control.sock"
    with socket.socket(socket.AF_UNIX) as boundaries, socket.socket(socket.AF_UNIX) as administrators:
        for listener, path in ((boundaries, control), (administrators, place / "control.sock.admin")):
            listener.bind(str(path))
            path.chmod(0o600)
            listener.listen()
        ran = ssactl("status", "--socket", str(control))
    said = f"ssactl: user 65534 may not talk to {control}.admin; only root and the daemon's user may\n"
    assert (ran.returncode, ran.stderr) == (3, said)


def test_a_policy_that_cannot_be_read_is_a_complaint(place: Path) -> None:
    policy = place / "ssa.toml"
    policy.touch(mode=0o600)
    for arguments in (("check", str(policy)), ("explain", "/bin/true", "--policy", str(policy))):
        ran = ssactl(*arguments)
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"{policy}: {policy} cannot be read: Permission denied\n")


def test_a_key_that_cannot_be_read_is_neither_good_nor_bad(place: Path) -> None:
    """Root's rights find out; without them an exit code of its own says that nobody looked."""
    policy, secret = place / "ssa.toml", place / "secret"
    secret.mkdir(mode=0o700)
    policy.write_text(f'[key.web]\nchain = "{secret}/chain"\nkey = "{secret}/key"\nprofiles = ["default"]\n')
    policy.chmod(0o644)
    ran = ssactl("check", str(policy), "--json")
    said = f"key web: {secret}/chain cannot be opened: Permission denied"
    assert ran.stderr.splitlines()[0] == f"not checked: {said}"
    assert ran.returncode == 4
    assert json.loads(ran.stdout)["unchecked"] == [said]


CLUMSY = {
    "no socket": (["status", "--socket", ""], 3),
    "the root": (["status", "--socket", "/"], 3),
    "a long socket": (["status", "--socket", "/" + "a" * 200], 3),
    "a long number": (["explain", "9" * 5000, "--policy", "{policy}"], 2),
    "a long user": (["explain", "/bin/true", "--user", "9" * 5000, "--policy", "{policy}"], 1),
    "bytes": (["explain", "/bin/\udcff", "--policy", "{policy}"], 0),
    "bytes of a user": (["explain", "/bin/true", "--user", "\udcff", "--policy", "{policy}"], 1),
}


@pytest.mark.parametrize("case", CLUMSY)
def test_a_clumsy_command_is_answered_in_order(case: str, place: Path) -> None:
    policy = place / "ssa.toml"
    policy.touch(mode=0o644)
    words, code = CLUMSY[case]
    command = [sys.executable, "-m", "ssa_impl.cli.ssactl", *(word.format(policy=policy) for word in words)]
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    ran = subprocess.run(command, capture_output=True, text=True, env=strict, check=False)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)
    assert bool(ran.stdout) is not bool(ran.stderr)


SERVICES = {
    "another service": b"220 mail.example\n",
    "silence": b"",
    "no answer": b'{"ok": 3}\n',
    "a nest": b"[" * 100_000 + b"\n",
    "a long number": b'{"ok": ' + b"9" * 10_000 + b"}\n",
}


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_no_ssad_is_said_in_one_sentence(service: str, place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "s.admin"))
        listener.listen()
        command = [sys.executable, "-m", "ssa_impl.cli.ssactl", "status", "--socket", str(place / "s")]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as asking:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(SERVICES[service])
            _, said = asking.communicate()
    assert asking.returncode == 3
    assert said.startswith(f"ssactl: what answers at {place}/s.admin is no ssad of this version: ")
    assert said.count("\n") == 1


def test_an_answer_that_cannot_be_written_is_one_sentence(place: Path) -> None:
    policy = place / "ssa.toml"
    policy.touch(mode=0o644)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "ssa_impl.cli.ssactl", "check", str(policy)]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.returncode != 0
    assert ran.stderr.startswith("ssactl: cannot write: No space left on device\n")
    assert "Traceback" not in ran.stderr
