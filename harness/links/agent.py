"""The program at the far end of ``--ssh``: a directory of its own, a web server in it, and nothing left at the end.

Sent over ssh and run there by ``python3`` (3.8 or newer, standard library only); nobody needs to install anything.
Standard input brings one request a line, in JSON, the bytes of a file right behind its line; standard output gives
one answer for each, after a first line that says what this host is.  An answer with ``error`` is one sentence.

It ends when standard input does, which is when ssh does, however that was; and when its server ends, with 1 and what
that said.  Whatever ends it, the server is ended and the directory removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MARK = "ssa-agent "  # before the first line, as a login shell may print something of its own
_NGINX = "/usr/sbin:/usr/local/sbin:/usr/local/nginx/sbin:/opt/nginx/sbin"
_GRACE_S = 3
_TAIL_LINES = 6
_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class RequestError(Exception):
    """One sentence for the user."""


class Agent:
    """The directory, the server, and the questions about them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._guard: subprocess.Popen[bytes] | None = None
        self._ended = -1  # readable when the guard has ended

    def hello(self) -> dict[str, Any]:
        """What this host is."""
        connection = os.environ.get("SSH_CONNECTION", "").split()
        return {
            "directory": str(self._directory),
            "address": connection[2] if len(connection) == 4 else None,  # that ssh came to
            "python": platform.python_version(),
            "root": os.geteuid() == 0,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "congestion_control": _setting("tcp_congestion_control"),
            "tcp_wmem": _setting("tcp_wmem"),
            "load_1min": os.getloadavg()[0],
        }

    def run(self) -> int:
        """Answer until nobody asks."""
        _say(self.hello(), MARK)
        while True:
            readable = select.select([0] + ([self._ended] if self._guard else []), [], [])[0]
            if self._ended in readable:
                sys.stderr.write(self._why_ended() + "\n")
                return 1
            line = sys.stdin.buffer.readline()
            if not line:
                return 0
            request = json.loads(line)
            try:
                answer = getattr(self, "do_" + request.pop("do"))(**request)
            except (RequestError, OSError) as error:
                answer = {"error": str(error)}
            _say(answer)

    def do_clock(self) -> dict[str, Any]:
        """What time it is here."""
        return {"ns": time.time_ns()}

    def do_file(self, name: str, size_bytes: int) -> dict[str, Any]:
        """Take a file; its bytes are right behind."""
        path = self._directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        left = size_bytes
        try:
            with path.open("wb") as file:
                while left:
                    data = sys.stdin.buffer.read(min(left, 1 << 20))
                    if not data:
                        raise RequestError(f"Only {size_bytes - left} of {size_bytes} bytes of {name} came.")
                    left -= len(data)
                    file.write(data)
        finally:
            while left > 0 and (data := sys.stdin.buffer.read(min(left, 1 << 20))):
                left -= len(data)  # so that the next request is found after a full disk
        return {}

    def do_find(self) -> dict[str, Any]:
        """Which servers there are: nginx with what it says of itself, and the version of granian."""
        executable = shutil.which("nginx") or shutil.which("nginx", path=_NGINX)
        nginx = {"executable": executable, "text": _output([executable, "-V"])} if executable else None
        look = "import importlib.metadata as m, granian; print(m.version('granian'))"
        granian = _output([sys.executable, "-c", look], lines=1)
        found = granian if granian.replace(".", "").isdigit() else None
        return {"nginx": nginx, "granian": {"version": found, "python": sys.executable} if found else None}

    def do_install(self, package: str) -> dict[str, Any]:
        """Make a virtual environment in the directory, with that package as this host's pip finds it."""
        venv = self._directory / "venv"
        python = str(venv / "bin/python")
        for argv in (
            [sys.executable, "-m", "venv", str(venv)],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", package],
        ):
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            if done.returncode != 0:
                said = done.stdout.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
                raise RequestError(f"`{' '.join(argv[1:])}` failed: {' | '.join(said)}")
        return {"python": python}

    def do_port(self, address: str, port: int) -> dict[str, Any]:
        """Whether a port is free, and which one was chosen when it was 0 (``probe``)."""
        return _probe(self._directory, "port", address, str(port))

    def do_serve(self, argv: list[str], look: list[str]) -> dict[str, Any]:
        """Start the server, and wait until the probe's question ``look`` has its answer, which is ours."""
        self._end_server()
        self._ended, ends = os.pipe()
        guard = [sys.executable, "-I", "-S", str(self._directory / "guard.py"), str(_GRACE_S), "--", *argv]
        with self._log.open("wb") as log:
            self._guard = subprocess.Popen(
                guard,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=str(self._directory),
                pass_fds=(ends,),  # closed when the guard ends: it gives it to nobody
                start_new_session=True,
            )
        os.close(ends)
        answer = _probe(self._directory, *look, until=self._ended)
        if not answer:
            raise RequestError(self._why_ended())
        if "error" in answer:
            raise RequestError(f"The server does not answer ({answer['error']}).{self._tail()}")
        return answer

    @property
    def _log(self) -> Path:
        return self._directory / "server.log"

    def _why_ended(self) -> str:
        assert self._guard is not None
        return f"The server ended ({self._guard.wait()}).{self._tail()}"

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:]
        return f" It said: {' | '.join(lines)}" if lines else " It said nothing."

    def _end_server(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()
        os.close(self._ended)
        self._guard = None

    def close(self) -> None:
        """Leave nothing behind."""
        self._end_server()
        shutil.rmtree(str(self._directory), ignore_errors=True)


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys/net/ipv4", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def _output(argv: list[str], lines: int | None = None) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return "\n".join(done.stdout.decode(errors="replace").strip().splitlines()[:lines])


def _probe(directory: Path, *question: str, until: int = -1) -> dict[str, Any]:
    """What the probe answers; empty when ``until`` became readable first."""
    argv = [sys.executable, "-I", "-S", str(directory / "probe.py"), *question]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as probe:
        assert probe.stdout is not None
        readable = select.select([probe.stdout] + ([until] if until >= 0 else []), [], [])[0]
        if probe.stdout not in readable:
            probe.kill()
            return {}
        said = probe.stdout.read()
    answer: dict[str, Any] = json.loads(said) if said else {"error": "the probe failed"}
    return answer


def _say(answer: dict[str, Any], before: str = "") -> None:
    sys.stdout.write(before + json.dumps(answer) + "\n")
    sys.stdout.flush()


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def main() -> int:
    """See the module's docstring."""
    for number in _SIGNALS:
        signal.signal(number, _end)
    os.umask(0o077)
    agent = Agent(Path(os.path.realpath(tempfile.mkdtemp(prefix="ssa-bench-"))))
    try:
        return agent.run()
    except BrokenPipeError:
        return 1
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        agent.close()
        with contextlib.suppress(OSError):
            sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
