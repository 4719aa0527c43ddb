"""The guard ends everything below it, whatever the reason, and nothing of it is left."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from webservers import guard

pytestmark = pytest.mark.system

_STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:  # a grandchild in a session of its own, whose parent is gone
    os.setsid()
    if os.fork() == 0:
        os.write(1, b"%d\\n" % os.getpid())
        signal.pause()
    os._exit(0)
os.wait()
os.write(1, b"%d\\n" % os.getpid())
signal.pause()
"""

_ORPHANING = """
import os, signal
if os.fork() == 0:
    os.write(1, b"%d\\n" % os.getpid())
    signal.pause()
"""

_WAITING = """
import os, signal
os.write(1, b"%d\\n" % os.getpid())
signal.pause()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def begin(grace_s: float, *argv: str) -> "subprocess.Popen[str]":
            whole = [sys.executable, "-I", "-S", guard.__file__, str(grace_s), "--", *argv]
            pipe = subprocess.PIPE
            process = stack.enter_context(subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
            stack.callback(process.kill)
            return process

        yield begin


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


def test_the_status_of_the_program_is_its_own(start: Start) -> None:
    process = start(1, sys.executable, "-c", "raise SystemExit(7)")
    assert process.wait(30) == 7
    assert finish(process) == (7, "")


def test_a_signal_is_a_status_above_128(start: Start) -> None:
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    process = start(1, sys.executable, "-c", kill)
    assert process.wait(30) == 128 + signal.SIGKILL
    finish(process)


def test_a_missing_program_is_one_sentence(start: Start) -> None:
    assert finish(start(1, "/no/such/program")) == (
        127,
        "cannot start /no/such/program: No such file or directory\n",
    )


@pytest.mark.parametrize("how", ["pipe", "term", "int"])
def test_stubborn_descendants_are_killed_after_the_grace(start: Start, how: str) -> None:
    process = start(0.05, sys.executable, "-c", _STUBBORN)
    descriptors = descriptors_of(process, 2)
    if how != "pipe":
        process.send_signal(signal.SIGTERM if how == "term" else signal.SIGINT)
        process.wait(30)
    assert finish(process)[0] == 128 + signal.SIGKILL  # communicate closes the pipe
    assert_gone(descriptors)


def test_what_outlives_the_program_is_ended_with_it(start: Start) -> None:
    process = start(1, sys.executable, "-c", _ORPHANING)
    descriptors = descriptors_of(process, 1)
    assert process.wait(30) == 0
    assert_gone(descriptors)
    finish(process)


def test_a_killed_guard_takes_its_program_along(start: Start) -> None:
    process = start(1, sys.executable, "-c", _WAITING)
    descriptors = descriptors_of(process, 1)
    process.kill()
    assert_gone(descriptors)
    finish(process)


def test_descendants_are_found_nearest_first(start: Start) -> None:
    process = start(1, sys.executable, "-c", _WAITING)
    assert process.stdout is not None
    program = int(process.stdout.readline())
    assert guard.descendants(process.pid) == [program]
    assert program in guard.descendants(os.getpid())
    finish(process)
