"""The daemon's life: start, a worker that dies, an end with open connections, and what is left each time."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import pytest

import ssa_impl
from tests.system.daemons import PATIENCE_S, Daemon, Zygote, environment, is_alive, ssa_run, ssad_command
from tests.system.servers import BODY_SHA256, Server, hold, serving, stall, tls
from tests.system.waiting import eventually

StartZygote = Callable[[Daemon], Zygote]


def test_it_says_once_that_it_is_ready(daemon: Daemon) -> None:
    assert daemon.ready == {
        "ready": True,
        "pid": daemon.process.pid,
        "workers": daemon.worker_pids(),
        "socket": str(daemon.path),
        "openssl": daemon.ready["openssl"],
        "version": ssa_impl.__version__,
        "hardening": daemon.ready["hardening"],
    }
    assert daemon.ready["openssl"].startswith("OpenSSL ")
    assert len(daemon.workers) == 2


def test_nobody_else_may_open_its_files(daemon: Daemon) -> None:
    assert stat.S_IMODE(daemon.path.stat().st_mode) & 0o077 == 0
    inner = daemon.path.with_name(daemon.path.name + ".d")
    assert stat.S_IMODE(inner.stat().st_mode) == 0o700


def test_nonsense_on_its_socket_hurts_nobody(daemon: Daemon, zygote: Zygote, web: Server, ca: str) -> None:
    for message in (b"", b"nonsense", bytes(100), bytes(200_000)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as end:
            end.connect(str(daemon.path))
            end.send(message)
    assert zygote.run("download", port=web.port, ca=ca)["sha256"] == BODY_SHA256


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_with_open_connections(
    number: signal.Signals, own_daemon: Daemon, start_zygote: StartZygote, ca: str
) -> None:
    zygote = start_zygote(own_daemon)
    with serving(tls(hold)) as server:
        programs = [zygote.start("hold_until_end", port=server.port, ca=ca) for _ in range(4)]
        assert {program.hear() for program in programs} == {0, 1}
        assert own_daemon.stop(number) == 0
        for program in programs:
            program.say(True)
            got = program.result()
            assert got["ended"] == ["", "ECONNRESET"]
            assert got["send"] == "EPIPE"
            assert got["option"] == "ECONNRESET"
            assert got["new"] == "ENOTCONN"


def test_a_worker_that_dies_takes_its_connections_only_and_is_replaced(
    own_daemon: Daemon, start_zygote: StartZygote, echoing: Server, web: Server, ca: str
) -> None:
    zygote = start_zygote(own_daemon)
    with serving(tls(hold)) as server:
        programs = {}
        for _ in range(2):
            program = zygote.start("hold_until_end", port=server.port, ca=ca)
            programs[program.hear()] = program
        survivor = zygote.start("held", port=echoing.port, ca=ca)
        doomed = 1 - (survivor.hear()[0] >> 48)
        os.kill(own_daemon.workers[doomed], signal.SIGKILL)
        victim = programs.pop(doomed)
        victim.say(True)
        got = victim.result()
        assert got["ended"] == ["", "ECONNRESET"]  # never an end of file, and never a hang
        assert got["option"] == "ECONNRESET"
        assert got["new"] == ""
        survivor.say()
        assert survivor.result() == "x"
        eventually(lambda: len(own_daemon.worker_pids()) == 2)
        eventually(lambda: {zygote.run("worker_of_new_socket") for _ in range(4)} == {0, 1})
        assert zygote.run("download", port=web.port, ca=ca)["sha256"] == BODY_SHA256
        server.released.set()
        (bystander,) = programs.values()
        bystander.say(False)
        assert bystander.result()["option"] == ""


@pytest.mark.parametrize("blocking", [True, False])
def test_a_worker_that_dies_during_connect(
    own_daemon: Daemon, start_zygote: StartZygote, ca: str, blocking: bool
) -> None:
    zygote = start_zygote(own_daemon)
    with serving(stall) as server:
        program = zygote.start("connect_to_a_dying_daemon", port=server.port, ca=ca, blocking=blocking)
        worker = program.hear()
        server.caller()
        os.kill(own_daemon.workers[worker], signal.SIGKILL)
        got = program.result()
    assert got["connect"] == ("ECONNRESET" if blocking else "EINPROGRESS")
    assert got["so_error"] in {"ECONNRESET", "ENOTCONN"}
    assert got["read"] in {"ECONNRESET", "EINVAL", "ENOTCONN"}


def test_a_worker_that_dies_again_and_again_is_replaced_again_and_again(
    own_daemon: Daemon, start_zygote: StartZygote, web: Server, ca: str
) -> None:
    zygote = start_zygote(own_daemon)
    for _ in range(3):
        before = own_daemon.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda before=before: len(set(own_daemon.worker_pids()) - set(before)) == 2)  # type: ignore[misc]
        eventually(lambda: zygote.run("worker_of_new_socket_if_any") != "ENOTCONN")
    eventually(lambda: {zygote.run("worker_of_new_socket_if_any") for _ in range(4)} == {0, 1})
    runtime = own_daemon.path.with_name("control.sock.d")  # the killed ones could not remove their names themselves
    assert {file.name for file in runtime.iterdir()} == {f"worker-{pid}.inner" for pid in own_daemon.worker_pids()}
    assert zygote.run("download", port=web.port, ca=ca)["sha256"] == BODY_SHA256


def test_its_workers_end_with_it_however_it_ends(own_daemon: Daemon) -> None:
    workers = own_daemon.worker_pids()
    own_daemon.process.kill()
    own_daemon.process.wait()
    for pid in workers:
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
    assert own_daemon.path.is_socket()  # nobody was left to remove it
    again = subprocess.Popen(
        ssad_command(own_daemon.path, 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )
    with again:
        assert again.stdout is not None
        assert '"ready": true' in again.stdout.readline()
        again.terminate()
        assert again.wait(PATIENCE_S) == 0
    assert list(own_daemon.path.parent.iterdir()) == []


def ran(*command: str) -> tuple[int, str]:
    """Run a command that must end by itself; return its exit code and what it complained."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("removed", [False, True], ids=["as it is", "its socket removed"])
def test_a_second_daemon_at_the_same_place_is_refused(removed: bool, own_daemon: Daemon) -> None:
    if removed:
        own_daemon.path.unlink()
    before = sorted(own_daemon.path.parent.rglob("*"))
    code, complaint = ran(*ssad_command(own_daemon.path))
    assert code == 3
    first = f"another ssad, process {own_daemon.process.pid}, has {own_daemon.path}"
    assert complaint == f"ssad: {first}; stop it, or choose another place with --socket\n"
    assert sorted(own_daemon.path.parent.rglob("*")) == before
    assert own_daemon.stop() == 0


def test_somebody_else_s_socket_is_left_alone() -> None:
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as other:
        path = Path(name) / "control.sock"
        other.bind(str(path))
        other.listen()
        code, complaint = ran(*ssad_command(path))
        assert code == 3
        assert complaint == (
            f"ssad: somebody else listens at {path}; stop that, or choose another place with --socket\n"
        )
        assert list(Path(name).iterdir()) == [path]


def test_without_a_runtime_directory_a_user_is_told_what_to_set() -> None:
    as_a_user = "import os, sys; os.geteuid = lambda: 1000; sys.argv = ['ssad', '--user']"
    bare = "for name in ('XDG_RUNTIME_DIR', 'SSAD_SOCKET'): os.environ.pop(name, None)"
    start = "from ssa_impl.cli.ssad import main; main()"
    code, complaint = ran(sys.executable, "-c", f"{as_a_user}\n{bare}\n{start}")
    assert code == 3
    assert complaint == ("ssad: --user has no place for its socket; set XDG_RUNTIME_DIR, or choose one with --socket\n")


def test_places_where_it_cannot_listen() -> None:
    with tempfile.TemporaryDirectory() as name:
        blocked = Path(name) / "file"
        blocked.write_text("")
        code, complaint = ran(*ssad_command(blocked / "control.sock"))
        assert code == 3
        reason = "Not a directory; choose another place with --socket"
        assert complaint == f"ssad: cannot make {blocked}/control.sock.d: {reason}\n"
        code, complaint = ran(*ssad_command(blocked))
        assert code == 3
        assert "Address already in use" in complaint
        code, complaint = ran(*ssad_command(Path(name) / ("x" * (85 - len(name) - 1))))
        assert code == 3
        assert "has more than 84 bytes" in complaint
        assert [entry.name for entry in Path(name).iterdir()] == ["file"]


def test_a_directory_that_others_may_write_is_no_place_for_its_own_sockets() -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "control.sock"
        trap = path.with_name("control.sock.d")
        trap.mkdir()
        trap.chmod(0o777)
        code, complaint = ran(*ssad_command(path))
        assert code == 3
        assert str(trap) in complaint
        assert not path.exists()


def test_bad_usage_is_exit_code_2() -> None:
    assert ran(*ssad_command(Path("/nowhere"), 0))[0] == 2
    assert ran(sys.executable, "-m", "ssa_impl.cli.ssad", "--nonsense")[0] == 2


def test_without_a_daemon_socket_is_enotconn() -> None:
    program = "import socket\ntry: socket.socket(2, 1, 205)\nexcept OSError as error: print(error.strerror)"
    with tempfile.TemporaryDirectory() as name:
        nowhere = Path(name) / "control.sock"
        command = ssa_run(nowhere, sys.executable, "-c", program)
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stdout) == (0, "Transport endpoint is not connected\n")
    assert done.stderr == (
        f"ssa: no daemon listens at {nowhere}: socket() will fail with ENOTCONN until ssad is started\n"
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("whole_group", [False, True], ids=["it alone", "its group"])
def test_a_signal_at_any_moment_of_its_start_leaves_nothing(number: signal.Signals, whole_group: bool) -> None:
    """The moments are random, from a seed.

    A SIGINT that comes while Python starts can be lost to Python, which writes down that there was one, and goes on;
    then the daemon is told once more.
    """
    draw = random.Random(f"{number} {whole_group}")
    for moment_s in [draw.uniform(0, 2.5) for _ in range(3)]:
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile("w+") as said:
            command = ssad_command(Path(name) / "control.sock")
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=said, env=environment(), start_new_session=True
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment_s)
            tell = partial(os.killpg if whole_group else os.kill, process.pid, number)
            tell()
            eventually(lambda process=process, said=said: process.poll() is not None or _python_lost_one(said))  # type: ignore[misc]
            if process.poll() is None:
                tell()
            assert process.wait(PATIENCE_S) in {0, -number, 1}, moment_s  # 1: Python itself had not begun
            assert list(Path(name).iterdir()) == [], moment_s
            eventually(lambda path=name: not _processes_at(path))  # type: ignore[misc]
            said.seek(0)
            assert number == signal.SIGINT or said.read() == "", moment_s


def _python_lost_one(said: IO[str]) -> bool:
    return b"KeyboardInterrupt" in os.pread(said.fileno(), 100_000, 0)


def _processes_at(place: str) -> list[str]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if place in line.read_text("utf-8", "replace"):
                found.append(str(line))
    return found
