"""Real processes: ssad, and programs under ``ssa run``."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from tests.system.waiting import PATIENCE_S, eventually, eventually_nothing

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """Return an environment in which our packages are found and a warning is an error."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1", **more}


def ssad_command(path: Path, workers: int = 2, policy: Path | None = None, *options: str) -> list[str]:
    chosen = [*options] if policy is None else ["--policy", str(policy), *options]
    return [sys.executable, "-m", "ssa_impl.cli.ssad", "--socket", str(path), "--workers", str(workers), *chosen]


def ssa_run(path: Path, *command: str, boundary: str = "") -> list[str]:
    chosen = ["--boundary", boundary] if boundary else []
    return [sys.executable, "-m", "ssa_impl.cli.ssa", "run", "--socket", str(path), *chosen, "--", *command]


def open_log() -> IO[str]:
    """Return a file without a name for what a process says."""
    return tempfile.TemporaryFile("w+")


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


class Daemon:
    """A running ssad in a directory of its own."""

    def __init__(
        self, workers: int = 2, policy: Path | None = None, *options: str, log: IO[str] | None = None, **more: str
    ) -> None:
        """``log`` is where it logs to, else a file; ``more`` are variables of its environment."""
        self._directory = tempfile.TemporaryDirectory(prefix="ssad-")
        self.path = Path(self._directory.name) / "control.sock"
        self._log = log or open_log()
        self.process = subprocess.Popen(
            ssad_command(self.path, workers, policy, *options),
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(**more),
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log()
        self.ready: dict[str, Any] = json.loads(line)
        self.workers: list[int] = self.ready["workers"]

    def log(self) -> str:
        """Return what the daemon has logged."""
        self._log.seek(0)
        return self._log.read()

    def worker_pids(self) -> list[int]:
        """Return the workers that live now."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text("ascii")
        return [int(pid) for pid in children.split() if is_alive(int(pid))]

    def descriptors(self) -> dict[int, int]:
        """Return how many descriptors each worker has open."""
        return {pid: len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.worker_pids()}

    def settle(self, baseline: dict[int, int]) -> None:
        """Wait until the workers hold no more descriptors than they did."""

        def surplus() -> dict[int, int]:
            now = self.descriptors()
            return {pid: now[pid] - before for pid, before in baseline.items() if now.get(pid, 0) > before}

        eventually_nothing(surplus)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit code.  Nothing may be left: no process, no socket file, no directory."""
        workers = self.worker_pids() if self.process.poll() is None else []
        self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        for pid in [self.process.pid, *workers]:
            eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        assert list(Path(self._directory.name).iterdir()) == []
        return code

    def close(self) -> None:
        """Forget the directory and the log.  The log must know of no defect."""
        assert self.process.stdout is not None
        self.process.stdout.close()
        log = self.log()
        self._log.close()
        self._directory.cleanup()
        assert "Traceback" not in log, log
        assert "defect" not in log, log
        assert "Warning" not in log, log


class Program:
    """A function of ``programs``, running in a process of its own with secure sockets."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lines = line.makefile("r")
        self.pid: int = self._read()["pid"]

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        assert line, "the program ended without a word"
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            self.close()
        assert "error" not in message, message["error"]
        return message

    def hear(self) -> Any:
        """Wait for what the program tells next."""
        message = self._read()
        assert "told" in message, message
        return message["told"]

    def say(self, value: object = None) -> None:
        """Let the program's ``wait`` return."""
        self._line.sendall(json.dumps({"say": value}).encode() + b"\n")

    def result(self) -> Any:
        """Wait for the program's result."""
        message = self._read()
        self.close()
        return message["result"]

    def ended_without_result(self) -> None:
        """Wait for the end of a program that was killed."""
        assert self._lines.readline() == ""
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._line.close()


class Zygote:
    """One ``ssa run`` from which programs fork: what a test costs is a fork, not a start of Python."""

    def __init__(self, daemon_path: Path, module: str = "tests.system.zygote", boundary: str = "") -> None:
        """``module``: what to run; its functions are the programs."""
        self._directory = tempfile.TemporaryDirectory(prefix="zygote-")
        self._path = Path(self._directory.name) / "programs"
        self._log = open_log()
        self._programs: list[Program] = []
        self.said = ""
        """what it had logged when it was stopped"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._path))
            listener.listen(200)
            command = [sys.executable, "-m", module, str(listener.fileno())]
            self.process = subprocess.Popen(
                ssa_run(daemon_path, *command, boundary=boundary),
                pass_fds=[listener.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=self._log,
                start_new_session=True,
                env=environment(),
                cwd=ROOT,
            )

    def start(self, function: str, **arguments: object) -> Program:
        """Start a program."""
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(PATIENCE_S)
        line.connect(str(self._path))
        line.sendall(json.dumps({"function": function, "arguments": arguments}).encode() + b"\n")
        self._programs.append(Program(line))
        return self._programs[-1]

    def run(self, function: str, **arguments: object) -> Any:
        """Run a program to its end; return its result."""
        return self.start(function, **arguments).result()

    def run_all(self, calls: Iterable[tuple[str, dict[str, object]]]) -> list[Any]:
        """Run programs side by side; return their results in order."""
        return [program.result() for program in [self.start(name, **arguments) for name, arguments in calls]]

    def stop(self) -> None:
        """End it.  The supervisor must have lived until now, and know of no defect."""
        code: int | None = None
        for program in self._programs:  # one that still waits for a word ends now
            program.close()
        with contextlib.suppress(ConnectionError, subprocess.TimeoutExpired):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.connect(str(self._path))
                line.sendall(b'{"function": null}\n')
            code = self.process.wait(PATIENCE_S)
        if code is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.said = log = self.log()
        self._log.close()
        self._directory.cleanup()
        assert code == 0, log
        assert "Traceback" not in log, log
        assert "Warning" not in log, log

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()
