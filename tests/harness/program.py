"""``python -m harness`` as a program: its words, its exit code, what it leaves behind."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 120
MARK = "SSA_TEST_MARK"


@dataclass(frozen=True)
class Ended:
    pid: int
    code: int
    said: str

    @property
    def sentence(self) -> str:
        """What was said, checked to be no traceback."""
        assert "Traceback" not in self.said, self.said
        return " ".join(self.said.split())


class Program:
    """One working place.

    An output directory, a TMPDIR of its own, and a mark on every process that is started.  ``before``: a command that
    runs the program, setpriv for one.
    """

    def __init__(self, directory: Path, temporary: Path, before: Sequence[str] = ()) -> None:
        self.before = before
        self.out = directory / "results"
        self.temporary = temporary
        self.mark = uuid.uuid4().hex
        self._environment = {**os.environ, MARK: self.mark, "TMPDIR": str(temporary), "COLUMNS": "500"}

    def __call__(self, *arguments: str) -> Ended:
        with self.started(*arguments) as running:
            return running.end()

    @contextmanager
    def started(self, *arguments: str) -> Iterator["Running"]:
        argv = [*self.before, sys.executable, "-W", "error", "-m", "harness", *arguments]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self._environment
        ) as process:
            try:
                yield Running(process)
            finally:
                process.kill()

    def run(self, *arguments: str, levels: str = "[1, 2]", blocks: int = 2) -> Ended:
        return self(*self.run_arguments(*arguments, levels=levels, blocks=blocks))

    def run_arguments(self, *arguments: str, levels: str = "[1, 2]", blocks: int = 2) -> list[str]:
        small = ["--set", f"levels={levels}", "--set", f"blocks={blocks}", "--set", "warm_up=0"]
        where = ["--out", str(self.out), "--no-analysis"]
        link = [] if {"--link", "--url"} & set(arguments) else ["--link", "loopback"]
        return ["run", "--preset", "smoke", *small, *where, *link, *arguments]

    @property
    def campaign(self) -> Path:
        """The only one."""
        (path,) = self.out.iterdir()
        return path

    def processes(self) -> dict[int, str]:
        """What still runs of everything that was started here: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return {pid: line for pid, line in found.items() if line}

    def nothing_is_left(self) -> bool:
        left = [*self.processes().values(), *map(str, self.temporary.iterdir())]
        assert left == []
        return True

    def kill(self, pattern: str) -> None:
        """SIGKILL for every process whose command line matches."""
        pids = [pid for pid, line in self.processes().items() if re.search(pattern, line)]
        assert pids, self.processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it has ended with the one before
                os.kill(pid, signal.SIGKILL)

    def wait_until_all_ended(self) -> None:
        for pid in self.processes():
            try:
                end = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            assert select.select([end], [], [], TIMEOUT_S)[0], self.processes()
            os.close(end)


class Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: list[str] = []

    def until(self, text: str) -> None:
        """Read what it says until a line contains ``text``."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.append(line)
            if text in line:
                return
        raise AssertionError(f"never said {text!r}: {self._said}")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> Ended:
        said, _ = self.process.communicate(timeout=TIMEOUT_S)
        return Ended(self.process.pid, self.process.returncode, "".join(self._said) + said)
