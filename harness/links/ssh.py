"""One connection over the system's ssh, and the agent at its far end (``agent``): asked, answered, ended.

Everything about the connection is the user's: names, ports, keys, known hosts, jumps, as ssh_config(5) has them.  It
never asks (BatchMode): a host whose key is not known, or a key that wants a passphrase and has no agent, is a refusal
in ssh's own words.  One connection is kept for the whole campaign, and silent while trials run but for a sign of life,
of ssh_config's interval or ``ALIVE_S``; three that are not answered end it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from harness.links import agent
from harness.links.interface import LinkError, LinkUnavailableError, LinkUsageError

ALIVE_S = 10
_CONNECT_S = 20
_PATIENCE_S = 60.0  # for one answer
_END_S = 10.0
_LINES = 200  # that a login shell may print before the agent speaks
_DESTINATION = re.compile(r"[^\s\-][^\s]*")

_BOOT = (
    "import sys; sys.version_info >= (3, 8) or sys.exit('its python3 is older than 3.8'); "
    "exec(compile(sys.stdin.buffer.read({size}), 'agent', 'exec'))"
)


class Session:
    """ssh with the agent behind it.  LinkError in one sentence when there is none, or it is lost."""

    def __init__(self, host: str) -> None:
        if not _DESTINATION.fullmatch(host):
            raise LinkUsageError(f"{host!r} is not a host that ssh could be given; write [user@]host.")
        self.host = host
        self._ssh = shutil.which("ssh")
        if self._ssh is None:
            raise LinkUnavailableError("There is no ssh here; the system's package `openssh-client` has it.")
        settings = self._settings()
        self.hostname = settings.get("hostname", host)
        alive = [] if settings.get("serveraliveinterval", "0") != "0" else ["-o", f"ServerAliveInterval={ALIVE_S}"]
        program = Path(agent.__file__).read_bytes()
        there = f"exec python3 -c {shlex.quote(_BOOT.format(size=len(program)))}"
        options = ["-T", "-x", "-a", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={_CONNECT_S}", *alive]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed in close)
        self._process = subprocess.Popen(
            [self._ssh, *options, "--", host, there],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for the harness, which ends this one in order
        )
        self._rest = bytearray()
        try:
            self._send(program)
            self.hello = self._hello()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of ssh."""
        return self._process.pid

    def _settings(self) -> dict[str, str]:
        """What ssh_config says of the host (``ssh -G``)."""
        assert self._ssh is not None
        done = subprocess.run(
            [self._ssh, "-G", "--", self.host], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            raise LinkError(f"ssh does not understand {self.host!r}: {done.stderr.strip()}.")
        return dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)

    def _hello(self) -> dict[str, Any]:
        mark = agent.MARK.encode()
        for _ in range(_LINES):
            line = self._line(_PATIENCE_S)
            if line.startswith(mark):
                return dict(json.loads(line[len(mark) :]))
        raise LinkError(f"{self.host} prints more than {_LINES} lines before it runs python3; let it be quiet.")

    def ask(self, do: str, *, patience_s: float = _PATIENCE_S, **what: object) -> dict[str, Any]:
        """One request (``agent``) and its answer."""
        self._send(json.dumps({"do": do, **what}).encode() + b"\n")
        return self._answer(patience_s)

    def _answer(self, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line(patience_s))
        if "error" in answer:
            raise LinkError(f"{self.host}: {answer['error']}")
        return answer

    def copy(self, name: str, source: Path | bytes) -> Path:
        """Put a file into the agent's directory; returns its path there."""
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            self._send(json.dumps({"do": "file", "name": name, "size_bytes": size_bytes}).encode() + b"\n")
            while data := file.read(1 << 20):
                self._send(data)
        self._answer()
        return self.directory / name

    @property
    def directory(self) -> Path:
        """The agent's, on the host."""
        return Path(self.hello["directory"])

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:
            raise LinkError(self._why_lost()) from error

    def _line(self, patience_s: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], patience_s)[0]:
                self._process.terminate()  # what it may still answer would be taken for another answer
                raise LinkError(f"{self.host} has not answered over ssh for {patience_s:g} s.")
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                raise LinkError(self._why_lost())
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return bytes(line)

    def lost(self) -> str:
        """One sentence when ssh has ended; empty while it lives."""
        return "" if self._process.poll() is None else self._why_lost()

    def _why_lost(self) -> str:
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            return f"{self.host} no longer listens over ssh."
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        said = f"It said: {' | '.join(lines[-6:])}" if lines else "It said nothing."
        if code == 127:
            return f"{self.host} has no python3 (3.8 or newer, of its packages), which serves there. {said}"
        if code == 255:
            return f"The connection to {self.host} over ssh cannot be made or was lost. {said}"
        return f"What served on {self.host} has ended ({code}). {said}"

    def close(self) -> None:
        """End the agent, which leaves nothing behind; harmless when it is lost."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):  # what was not sent is not needed
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        process.stdout.close()
        self._said.close()
