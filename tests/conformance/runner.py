"""Running one behaviour in one column: a fresh process for the program, a thread for the peer, one transcript."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.conformance import peers
from tests.conformance.behaviour import PLAIN, Behaviour, Column
from tests.conformance.credentials import Files
from tests.conformance.stage import Aborted, Stage
from tests.conformance.transcripts import Entry, Transcript
from tests.system.daemons import ROOT, Daemon, environment, open_log

_PATIENCE_S = 90


class Failed(Exception):
    """A program or its peer did not come to its end."""


class Program:
    """One program, while it runs."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._lines = line.makefile("r")
        self._pid: int = self._read()["pid"]
        self.transcript: Transcript = []

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError:
            self.kill()
            raise Failed(f"the program still runs after {_PATIENCE_S} s") from None
        if not line:
            raise Failed("the program ended without a word")
        message: dict[str, Any] = json.loads(line)
        return message

    def say(self, value: object) -> None:
        """Let the program's ``wait`` return."""
        self._line.sendall(json.dumps({"say": value}).encode() + b"\n")

    def attend(self, stage: Stage) -> None:
        """Listen to the program until its end.  Raises Failed."""
        while True:
            message = self._read()
            match message:
                case {"saw": entry}:
                    self.transcript.append(Entry.read(entry))
                case {"told": value}:
                    stage.told(value)
                case {"end": _}:
                    return
                case {"error": trace}:
                    raise Failed(trace)

    def kill(self) -> None:
        """End a program that does not end by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)

    def close(self) -> None:
        self._lines.close()
        self._line.close()


class Zygote:
    """A process at one boundary from which programs fork."""

    def __init__(self, command: list[str]) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="zygote-")
        self._path = Path(self._directory.name) / "programs"
        self._log = open_log()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(self._path))
            listener.listen(20)
            self._process = subprocess.Popen(
                [*command, sys.executable, "-m", "tests.conformance.zygote", str(listener.fileno())],
                pass_fds=[listener.fileno()],
                stdin=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,
                env=environment(),
                cwd=ROOT,
            )

    def _ask(self, request: dict[str, Any]) -> socket.socket:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(_PATIENCE_S)
        try:
            line.connect(str(self._path))
            line.sendall(json.dumps(request).encode() + b"\n")
        except OSError:
            line.close()
            raise
        return line

    def start(self, wanted: Behaviour, world: dict[str, Any]) -> Program:
        """Start a program.  Raises Failed."""
        try:
            line = self._ask({"behaviour": wanted.name, "world": world})
        except OSError as error:
            raise Failed(f"no programs come from here any more: {error}\n{self.log()}") from None
        try:
            return Program(line)
        except Failed as failed:
            line.close()
            raise Failed(f"{failed}\n{self.log()}") from None

    def log(self) -> str:
        """Return what the boundary has said."""
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> None:
        """End it.  The boundary must have lived until now, and know of no defect."""
        code: int | None = None
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._ask({"behaviour": None}).close()
            code = self._process.wait(20)
        assert self._process.stdin is not None
        self._process.stdin.close()
        if code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        log = self.log()
        self._log.close()
        self._directory.cleanup()
        assert code == 0, f"exit code {code}\n{log}"
        assert "Traceback" not in log, log
        assert "Warning" not in log, log


class Theatre:
    """What runs need and share: the files, a daemon, one zygote for each boundary, and what was shown so far."""

    def __init__(self) -> None:
        self.files = Files()
        self._daemon: Daemon | None = None
        self._zygotes: dict[str, Zygote] = {}
        self._shown: dict[tuple[str, Column], Transcript | Failed] = {}

    def transcript(self, wanted: Behaviour, column: Column) -> Transcript:
        """Return what a behaviour shows in a column; each is run once.  Raises Failed."""
        key = wanted.name, column
        if key not in self._shown:
            try:
                self._shown[key] = self._run(wanted, column)
            except Failed as failed:
                self._shown[key] = failed
        shown = self._shown[key]
        if isinstance(shown, Failed):
            raise Failed(str(shown))
        return shown

    def _run(self, wanted: Behaviour, column: Column) -> Transcript:
        if not wanted.own_daemon:
            return perform(wanted, column, self._zygote(column.boundary), self.files)
        daemon = Daemon()
        zygote = Zygote(command(column.boundary, daemon))
        try:
            return perform(wanted, column, zygote, self.files, daemon)
        finally:
            zygote.stop()
            if daemon.process.poll() is None:
                daemon.stop()
            daemon.close()

    def _zygote(self, boundary: str) -> Zygote:
        if boundary not in self._zygotes:
            if boundary != PLAIN and self._daemon is None:
                self._daemon = Daemon()
            self._zygotes[boundary] = Zygote(command(boundary, self._daemon))
        return self._zygotes[boundary]

    def close(self) -> None:
        """End everything; nobody may know of a defect."""
        with contextlib.ExitStack() as ending:
            ending.callback(self.files.close)
            if self._daemon is not None:
                ending.callback(self._daemon.close)
                ending.callback(self._daemon.stop)
            for zygote in self._zygotes.values():
                ending.callback(zygote.stop)


def command(boundary: str, daemon: Daemon | None) -> list[str]:
    """Return what a program's command begins with at a boundary."""
    if boundary == PLAIN:
        return []
    assert daemon is not None
    run = [sys.executable, "-m", "ssa_impl.cli.ssa", "run"]
    return [*run, "--boundary", boundary, "--socket", str(daemon.path), "--"]


def perform(
    wanted: Behaviour, column: Column, zygote: Zygote, files: Files, daemon: Daemon | None = None
) -> Transcript:
    """Run program and peer side by side.  Raises Failed with the transcript so far when one of them fails."""
    stage = Stage(wanted, column, files)
    stage.daemon = daemon
    try:
        program = zygote.start(wanted, stage.world())
        try:
            stage.begin(program.say)
            play = _Play(wanted, stage, program)
            try:
                program.attend(stage)
            except Failed as failed:
                stage.abort()
                play.join()
                raise Failed(_told(play.failure or failed, failed, program.transcript)) from None
            seen = play.result()
        finally:
            program.close()
    finally:
        stage.close()
    return program.transcript + seen


class _Play(threading.Thread):
    """The peer's part."""

    def __init__(self, wanted: Behaviour, stage: Stage, program: Program) -> None:
        super().__init__()
        self._wanted, self._stage, self._program = wanted, stage, program
        self._seen: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        if self._wanted.peer is None:
            return
        try:
            self._seen = peers.find(self._wanted.peer)(self._stage, **self._wanted.peer_arguments) or {}
        except Aborted:
            return
        except BaseException as failure:
            self.failure = failure
            self._program.kill()

    def result(self) -> Transcript:
        """Wait for the peer's end; return what it has seen.  Raises Failed."""
        self.join(_PATIENCE_S)
        if self.is_alive():
            self._stage.abort()
            self.join()
            raise Failed("the program has ended, and its peer has not")
        if self.failure is not None:
            raise Failed(_told(self.failure, None, self._program.transcript))
        return list(self._entries(self._wanted.seen))

    def _entries(self, expected: dict[str, Any]) -> Iterable[Entry]:
        for what, value in json.loads(json.dumps(self._seen)).items():
            yield Entry(f"peer: {what}", value, *([expected[what]] if what in expected else []))
        for what in expected.keys() - self._seen.keys():
            yield Entry(f"peer: {what}", None, expected[what])


def _told(failure: BaseException, other: BaseException | None, transcript: Transcript) -> str:
    lines = [f"{entry.what}: {entry.value!r}" for entry in transcript]
    if failure is not other and not isinstance(failure, Failed):
        import traceback

        lines.append("the peer failed: " + "".join(traceback.format_exception(failure)))
    return "\n".join([*lines, str(other or "")])
