"""The guard ends everything below it, whatever the reason, and nothing of it is left."""

import os
import select
import signal
import subprocess
import sys

import pytest

from webservers import guard

pytestmark = pytest.mark.system

_STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:  # a grandchild in a session of its own, whose parent is gone
    os.setsid()
    if os.fork() == 0:
        print(os.getpid(), flush=True)
        signal.pause()
    os._exit(0)
os.wait()
print(os.getpid(), flush=True)
signal.pause()
"""


def start(grace_s: float, *argv: str) -> "subprocess.Popen[str]":
    whole = [sys.executable, "-I", "-S", guard.__file__, str(grace_s), "--", *argv]
    return subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def descriptors_of(process: "subprocess.Popen[str]", count: int) -> list[int]:
    assert process.stdout is not None
    return [os.pidfd_open(int(process.stdout.readline())) for _ in range(count)]


def assert_gone(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        assert select.select([descriptor], [], [], 20)[0]
        os.close(descriptor)


def test_the_status_of_the_program_is_its_own() -> None:
    process = start(1, sys.executable, "-c", "raise SystemExit(7)")
    assert process.wait(30) == 7
    assert finish(process) == (7, "")


def test_a_signal_is_a_status_above_128() -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    process = start(1, sys.executable, "-c", kill)
    assert process.wait(30) == 128 + signal.SIGKILL
    finish(process)


def test_a_missing_program_is_one_sentence() -> None:
    assert finish(start(1, "/no/such/program")) == (
        127,
        "cannot start /no/such/program: No such file or directory\n",
    )


@pytest.mark.parametrize("how", ["pipe", "term", "int"])
def test_stubborn_descendants_are_killed_after_the_grace(how: str) -> None:
    process = start(0.05, sys.executable, "-c", _STUBBORN)
    descriptors = descriptors_of(process, 2)
    if how != "pipe":
        process.send_signal(signal.SIGTERM if how == "term" else signal.SIGINT)
        process.wait(30)
    assert finish(process)[0] == 128 + signal.SIGKILL  # communicate closes the pipe
    assert_gone(descriptors)


def test_what_outlives_the_program_is_ended_with_it() -> None:
    orphan = "import os, signal\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    signal.pause()"
    process = start(1, sys.executable, "-c", orphan)
    descriptors = descriptors_of(process, 1)
    assert process.wait(30) == 0
    assert_gone(descriptors)
    finish(process)


def test_a_killed_guard_takes_its_program_along() -> None:
    process = start(1, sys.executable, "-c", "import os, signal; print(os.getpid(), flush=True); signal.pause()")
    descriptors = descriptors_of(process, 1)
    process.kill()
    assert_gone(descriptors)
    finish(process)


def test_descendants_are_found_nearest_first() -> None:
    process = start(1, sys.executable, "-c", "import os, signal; print(os.getpid(), flush=True); signal.pause()")
    assert process.stdout is not None
    program = int(process.stdout.readline())
    assert guard.descendants(process.pid) == [program]
    assert program in guard.descendants(os.getpid())
    finish(process)
