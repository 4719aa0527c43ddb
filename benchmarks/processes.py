"""What is started, how it is spoken to, and how it ends: nothing outlives the benchmark, whatever happens to it.

An :class:`Endpoint` ends when its standard input does.  The daemon and the proxies run behind the guard of the web
servers, which ends them when the pipe that it waits on is closed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records import BenchmarkError
from webservers import guard

PROGRAMS = Path(__file__).resolve().parent / "programs"
START_S = 30.0
ANSWER_S = 120.0
_GRACE_S = 3.0
_LOOK_AGAIN_S = 0.01
_TAIL_CHARACTERS = 600


class Speaker:
    """A process that says one line of JSON at a time, and obeys lines on its standard input.

    ``variables`` are set in its environment, beside ours.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, variables: Mapping[str, str]) -> None:
        self._name, self._log = name, log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, **variables},
            )
        self._heard = b""

    def hear(self, patience_s: float = ANSWER_S) -> dict[str, Any] | None:
        """Wait for its next line; None when there will be none.  BenchmarkError when it takes too long."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + patience_s
        while b"\n" not in self._heard:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise BenchmarkError(f"the {self._name} has not answered for {patience_s:g} s.{self.tail()}")
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            if not piece:
                return None
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def expect(self, patience_s: float = ANSWER_S) -> dict[str, Any]:
        """Wait for its next line.  BenchmarkError when it ends instead."""
        message = self.hear(patience_s)
        if message is None:
            raise BenchmarkError(f"the {self._name} ended ({self.process.wait(_GRACE_S)}).{self.tail()}")
        return message

    def ask(self, **order: object) -> dict[str, Any]:
        """Give one order and wait for the answer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # expect() says how it ended
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            self.process.stdin.flush()
        return self.expect()

    def tail(self) -> str:
        """The end of what it said on its standard error."""
        said = self._log.read_text("utf-8", "replace").strip()[-_TAIL_CHARACTERS:]
        return f" It said: {' | '.join(said.splitlines())}" if said else ""

    def close(self) -> None:
        """End it and all of its session."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.terminate()  # ssa run passes it on
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@contextlib.contextmanager
def speaking(name: str, command: Sequence[str], log: Path, **variables: str) -> Iterator[Speaker]:
    """A speaker for the length of a block."""
    speaker = Speaker(name, command, log, variables)
    try:
        yield speaker
    finally:
        speaker.close()


@contextlib.contextmanager
def guarded(name: str, command: Sequence[str], log: Path, **variables: str) -> Iterator[Speaker]:
    """A program behind the guard, for the length of a block."""
    guard_command = [sys.executable, "-I", "-S", guard.__file__, str(_GRACE_S), "--", *command]
    with speaking(name, guard_command, log, **variables) as speaker:
        yield speaker


def wait_until(is_so: Callable[[], bool], speaker: Speaker, what: str) -> None:
    """Look again and again.  BenchmarkError when the process ends first, or after 30 s."""
    deadline = time.monotonic() + START_S
    while not is_so():
        if speaker.process.poll() is not None or time.monotonic() > deadline:
            raise BenchmarkError(f"{what}.{speaker.tail()}")
        time.sleep(_LOOK_AGAIN_S)


def endpoint_command(setup: Mapping[str, object]) -> list[str]:
    """The command line of one end of the connections."""
    return [sys.executable, str(PROGRAMS / "endpoint.py"), json.dumps(setup)]
