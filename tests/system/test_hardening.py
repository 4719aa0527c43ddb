"""A real daemon's processes as the kernel sees them, and the units that a service manager would run it by."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control import channel as control
from ssa_impl.control import messages
from ssa_impl.daemon.distribution import pack
from ssa_impl.daemon.mail import PARENT, Post, forwarded
from ssa_impl.hardening import landlock
from ssa_impl.hardening.kernel import call
from ssa_impl.policy.model import TLS_1_2, TLS_1_3, Profile
from ssa_impl.policy.policy import Policy
from tests.system.daemons import Daemon, environment
from tests.system.waiting import eventually

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
NET_BIND_SERVICE, DAC_READ_SEARCH, SYS_PTRACE = 1 << 10, 1 << 2, 1 << 19
PATIENCE_S = 90
PIDFD_GETFD = 438
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: only root has capabilities to give up")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs the Debian package systemd")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def capabilities(pid: int) -> int:
    found = status(pid)
    assert found["CapEff"] == found["CapPrm"]
    return int(found["CapEff"], 16)


def test_the_ready_line_says_what_is_in_force(daemon: Daemon) -> None:
    said = daemon.ready["hardening"]
    rights = "CAP_NET_BIND_SERVICE" if os.geteuid() == 0 else "no capabilities"
    assert said.startswith(f"user {os.geteuid()}, {rights}, no new privileges, ")
    assert (f"Landlock {landlock.abi()}" if landlock.abi() else "no Landlock") in said
    assert "seccomp filter" in said


def test_every_worker_is_under_a_filter_and_gains_nothing(daemon: Daemon) -> None:
    for pid in daemon.worker_pids():
        found = status(pid)
        assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")
        assert found["CapEff"] == found["CapPrm"]
        assert int(found["CapEff"], 16) & ~NET_BIND_SERVICE == 0


def test_a_worker_in_place_of_another_is_hardened_too(own_daemon: Daemon) -> None:
    first = own_daemon.worker_pids()
    os.kill(first[0], signal.SIGKILL)

    def successor() -> int:
        found = [pid for pid in own_daemon.worker_pids() if pid not in first]
        return found[0] if found and status(found[0])["Seccomp"] == "2" else 0

    pid = eventually(successor)
    assert pid
    assert status(pid)["NoNewPrivs"] == "1"


OTHER_WORKER = 1
POSTS: dict[str, tuple[bytes, bool]] = {
    "a policy": (forwarded(OTHER_WORKER, Post.POLICY, bytes(4)), True),
    "evidence, to who is no successor": (forwarded(OTHER_WORKER, Post.EVIDENCE, b""), False),
    "half a question": (forwarded(PARENT, Post.IDENTIFY, b"half"), False),
    "nothing of the kind": (forwarded(OTHER_WORKER, Post.PEER, b"")[:2] + b"\xff", False),
}


@needs_root
def test_a_worker_that_is_taken_over_tells_the_others_nothing(own_daemon: Daemon) -> None:
    """Who has its dispatch socket can say what it could: it is killed, and the others go on under the policy."""
    lax = pack(Policy({"default": Profile(name="lax", hostname_required=False, version_min=TLS_1_3)}))
    for said, (message, with_policy) in POSTS.items():
        taken_over, number = first_of(own_daemon)
        with dispatch_of(taken_over, number) as dispatch:
            socket.send_fds(dispatch, [message], [lax] if with_policy else [])
        eventually(lambda pid=taken_over: f"worker {pid} ended with -9" in own_daemon.log())  # type: ignore[misc]
        assert f"worker {taken_over} says what no worker may say, and is killed" in own_daemon.log(), said
        assert {version_min(own_daemon) for _ in range(2)} == {TLS_1_2}, said
        eventually(lambda: first_of(own_daemon) != (0, 0))
    os.close(lax)


def first_of(daemon: Daemon) -> tuple[int, int]:
    """Return the worker at the first place, and the number of its socket to its parent; zeros while there is none."""
    for pid in daemon.worker_pids():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"ssa_impl.daemon.worker" in words:
            arguments = words[words.index(b"ssa_impl.daemon.worker") + 1 :]
            if arguments[2] == b"0":
                return pid, int(arguments[0])
    return 0, 0


def dispatch_of(worker: int, number: int) -> socket.socket:
    """Return a copy of a worker's socket to its parent (pidfd_getfd(2))."""
    process = os.pidfd_open(worker)
    try:
        return socket.socket(fileno=call(PIDFD_GETFD, process, number, 0))
    finally:
        os.close(process)


def version_min(daemon: Daemon) -> int:
    """Open a secure socket in the next worker; return TLS_VERSION_MIN, which the policy says."""
    with control.dial(daemon.path) as end:
        end.setblocking(True)
        end.settimeout(PATIENCE_S)
        control.send(end, messages.Hello(1, socket.AF_INET, os.getpid()))
        control.send(end, messages.GetOption(2, IPPROTO_TLS, Opt.TLS_VERSION_MIN, 4))
        answers = [control.receive(end) for _ in range(2)]
    assert answers[1] is not None
    return int.from_bytes(answers[1][0].value, "little")  # type: ignore[union-attr]


@needs_root
def test_the_parent_of_root_keeps_three_capabilities(daemon: Daemon) -> None:
    assert capabilities(daemon.process.pid) == NET_BIND_SERVICE | DAC_READ_SEARCH | SYS_PTRACE


@pytest.fixture
def place() -> Iterator[Path]:
    """Short enough for a socket's path below it, and another user's to enter."""
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as name:
        yield Path(name)


@needs_root
def test_as_the_unit_runs_it_no_process_is_root(place: Path) -> None:
    """An ordinary user with the unit's ambient capabilities: the worker gets the one that it needs."""
    os.chown(place, 65534, 65534)
    names = "-all,+net_bind_service,+dac_read_search,+sys_ptrace"
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set", names]
    as_user += ["--inh-caps", names, "--ambient-caps", names]
    command = [sys.executable, "-m", "ssa_impl.cli.ssad", "--socket", str(place / "control.sock"), "--workers", "1"]
    with subprocess.Popen([*as_user, *command], stdout=subprocess.PIPE, env=environment(), text=True) as started:
        assert started.stdout is not None
        try:
            ready = json.loads(started.stdout.readline())
            (worker,) = ready["workers"]
            assert status(worker)["Uid"].split() == ["65534"] * 4
            assert capabilities(started.pid) == NET_BIND_SERVICE | DAC_READ_SEARCH | SYS_PTRACE
            assert capabilities(worker) == NET_BIND_SERVICE
        finally:
            started.send_signal(signal.SIGTERM)
            assert started.wait(PATIENCE_S) == 0


@needs_systemd
def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    """Type=notify-reload is of systemd 253; an older one says that it keeps the line before."""
    for name in ("ssad.service", "ssad.socket"):
        text = (SYSTEMD / name).read_text("utf-8")
        (tmp_path / name).write_text(text.replace("/usr/bin/ssad", sys.executable), "utf-8")
    units = [str(tmp_path / name) for name in ("ssad.service", "ssad.socket")]
    done = analyze("verify", "--man=no", *units)
    complaints = {line for line in done.stderr.splitlines() if "notify-reload" not in line and str(tmp_path) in line}
    assert complaints == set()
    assert done.returncode == 0


@needs_systemd
def test_the_unit_is_confined(tmp_path: Path) -> None:
    """systemd's own measure, 0 (confined) to 10; what remains is what a TLS service is for: sockets of all kinds."""
    unit = tmp_path / "ssad.service"
    unit.write_text((SYSTEMD / "ssad.service").read_text("utf-8"), "utf-8")
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=30", str(unit))
    assert done.returncode == 0, done.stdout


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
