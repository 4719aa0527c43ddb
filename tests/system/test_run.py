"""``ssa run``: exit codes, streams, descriptors, signals, and the end of a process tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.daemons import PATIENCE_S, Daemon, environment, is_alive, ssa_run
from tests.system.waiting import eventually


def run(
    daemon: Daemon, *command: str, words: str = "", pass_fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a command under ``ssa run`` to its end."""
    return subprocess.run(
        ssa_run(daemon.path, *command),
        input=words,
        pass_fds=pass_fds,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 1, 2, 42, 255])
def test_the_exit_code_is_the_programs(daemon: Daemon, code: int) -> None:
    done = run(daemon, "sh", "-c", f"exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE])
def test_128_and_the_signal(daemon: Daemon, number: signal.Signals) -> None:
    assert run(daemon, "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$").returncode == 128 + number


def test_127_and_126(daemon: Daemon, tmp_path: Path) -> None:
    missing = run(daemon, "/no/such/program")
    assert (missing.returncode, missing.stderr) == (127, "ssa: /no/such/program: No such file or directory\n")
    assert run(daemon, "no-such-program-in-the-path").returncode == 127
    refused = run(daemon, str(tmp_path))
    assert (refused.returncode, refused.stderr) == (126, f"ssa: {tmp_path}: Permission denied\n")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF garbage")
    garbage.chmod(0o755)
    assert run(daemon, str(garbage)).returncode == 126


def test_no_program_is_bad_usage(daemon: Daemon) -> None:
    assert run(daemon).returncode == 2


def test_streams_pass_through(daemon: Daemon) -> None:
    done = run(daemon, "sh", "-c", "cat; echo complaint >&2", words="words\n")
    assert (done.stdout, done.stderr) == ("words\n", "complaint\n")


def test_inherited_descriptors_pass_through_and_no_others(daemon: Daemon) -> None:
    read, write = os.pipe()
    done = run(daemon, "sh", "-c", f"echo through >/proc/self/fd/{write}; ls /proc/self/fd", pass_fds=(write,))
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "through\n"
    assert sorted(map(int, done.stdout.split())) == [0, 1, 2, 3, write]  # 3: the directory that ls looks at


def test_arguments_that_look_like_options_are_the_programs(daemon: Daemon) -> None:
    assert run(daemon, "echo", "--socket", "x", "--help", "-n").stdout == "--socket x --help -n\n"


def test_the_environment_is_the_programs(daemon: Daemon) -> None:
    assert run(daemon, "sh", "-c", "echo $PYTHONPATH").stdout.strip() == environment()["PYTHONPATH"]


def start(daemon: Daemon, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ssa_run(daemon.path, *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_signal_to_the_supervisor_reaches_the_program(daemon: Daemon) -> None:
    with start(daemon, "sh", "-c", "trap 'echo caught; exit 7' TERM; echo ready; while :; do read x; done") as process:
        assert line(process) == "ready\n"
        process.terminate()
        assert line(process) == "caught\n"
        assert process.wait(PATIENCE_S) == 7


def test_an_interrupt_is_the_programs_to_decide_about(daemon: Daemon) -> None:
    """The terminal sends it to both: the supervisor stays for as long as the program does."""
    with start(daemon, "sh", "-c", "trap 'echo caught; exit 7' INT; echo $$; while :; do read x; done") as process:
        program = int(line(process))
        process.send_signal(signal.SIGINT)
        os.kill(program, signal.SIGINT)
        assert line(process) == "caught\n"
        assert process.wait(PATIENCE_S) == 7


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def test_the_last_process_of_the_tree_keeps_the_supervisor(daemon: Daemon) -> None:
    source = "import os, sys\nif os.fork() == 0: sys.stdin.read(1); print('late', flush=True)"
    with subprocess.Popen(
        ssa_run(daemon.path, sys.executable, "-c", source),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        # the program itself is reaped at once: before Linux 6.11 a zombie would keep its filter, and us, for ever
        eventually(lambda: [is_alive(pid) for pid in children(process.pid)] == [True] and _is_adopted(process.pid))
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.close()
        assert line(process) == "late\n"
        assert process.wait(PATIENCE_S) == 0


def _is_adopted(supervisor: int) -> bool:
    """Whether the supervisor's only child is the grandchild that its program left behind."""
    (child,) = children(supervisor)
    return children(child) == []


def test_one_notifying_filter_is_all_that_linux_allows(daemon: Daemon) -> None:
    done = run(daemon, *ssa_run(daemon.path, "true", boundary="seccomp"))
    assert done.returncode == 3
    assert done.stderr == (
        "ssa: cannot supervise system calls: the process is already under another notifying filter:"
        " one per process tree is allowed\n"
    )
