"""The program that runs one proxy and answers for it: ``python -m harness.proxies.program KIND SETTINGS_AS_JSON``.

It says one JSON object when the proxy listens, ``{"event": "ready", "pid", "port", "version", "openssl"}``, then
answers each line of stdin:

``{"do": "tell", "ports": [...], "seconds": S}``
    ``{"event": "told", "terms": {PORT: {...}}, "complaints": [...]}``: what the log tells of the connections that
    came from these ports, waited for at most S seconds, and what it complained about since it was last asked.

It ends when stdin ends, and takes the proxy with it; when the proxy ends first, it says its last words on stderr
and ends with 1.  What this machine cannot do is said on stderr, with exit code 3.  Killed, it takes the proxy
with it too (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.clients.target import PROXY_ADDRESS
from harness.errors import EXIT_CANNOT, CannotError
from harness.proxies.kinds import KINDS, Kind, Settings, Told

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LISTENING = "0A"  # /proc/net/tcp: TCP_LISTEN of net/tcp_states.h
_START_S = 15.0
_STOP_S = 3.0
_PAUSE_S = 0.005
_TRIES = 3  # a free port that was chosen may be taken by somebody before the proxy has it
_libc = ctypes.CDLL(None)


class _EndedError(Exception):
    """The proxy ended; the text is its last words."""


class Running:
    """A proxy that listens, and its log as far as it has been read."""

    def __init__(self, kind: Kind, process: subprocess.Popen[bytes], log: Path) -> None:
        self._kind = kind
        self.process = process
        self._log = log.open("rb")
        self._unread = b""
        self._told = Told()

    def last_words(self) -> str:
        """The end of the log, without stunnel's remarks about its own memory."""
        said = Path(self._log.name).read_text(errors="replace").strip().splitlines()
        lines = [line for line in said if not line.startswith("[ ]")][-4:]
        return f"{self._kind.name} ended ({self.process.wait()}); it said: {' | '.join(lines) or 'nothing'}"

    def tell(self, ports: set[int], seconds: float) -> dict[str, Any]:
        """Read on in the log until it tells of all ports, or the time is up."""
        deadline = time.monotonic() + seconds
        while True:
            self._read()
            is_told = ports <= {port for port, terms in self._told.terms.items() if "tls_version" in terms}
            if is_told or time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
        told, self._told = self._told, Told()
        terms = {str(port): told.terms[port] for port in ports & set(told.terms)}
        return {"event": "told", "terms": terms, "complaints": told.complaints}

    def _read(self) -> None:
        whole, newline, self._unread = (self._unread + self._log.read()).rpartition(b"\n")
        if newline:
            self._kind.read_log(whole.decode(errors="replace").splitlines(), self._told)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


@contextmanager
def running(kind: Kind, settings: Settings) -> Iterator[tuple[Running, int]]:
    """Start it; yields it and its port when it listens.  _EndedError, CannotError."""
    for attempt in range(1, _TRIES + 1):
        port = _free_port()
        proxy = _spawn(kind, settings, port)
        try:
            _wait_until_listening(proxy, port)
        except _EndedError as error:
            proxy.close()
            if "in use" not in str(error).lower() or attempt == _TRIES:
                raise
        else:
            break
    try:
        yield proxy, port
    finally:
        proxy.close()


def _spawn(kind: Kind, settings: Settings, port: int) -> Running:
    directory = Path(settings.directory)
    directory.mkdir(mode=0o700, exist_ok=True)
    file, log = directory / "configuration", directory / "log"
    file.write_text(kind.configuration(settings, port), encoding="utf-8")
    environment = dict(os.environ)
    for variable, text in kind.environment.items():
        (directory / variable).write_text(text, encoding="utf-8")
        environment[variable] = str(directory / variable)
    with log.open("wb") as output:
        process = subprocess.Popen(
            kind.argv(file),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),  # noqa: PLW1509 (no threads)
        )
    return Running(kind, process, log)


def _free_port() -> int:
    with socket.create_server((PROXY_ADDRESS, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_listening(proxy: Running, port: int) -> None:
    """Without connecting: a proxy would connect to the server."""
    deadline = time.monotonic() + _START_S
    while not _is_listening(port):
        if proxy.process.poll() is not None:
            raise _EndedError(proxy.last_words())
        if time.monotonic() > deadline:
            raise _EndedError(f"it did not listen within {_START_S:g} s")
        time.sleep(_PAUSE_S)


def _is_listening(port: int) -> bool:
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == _LISTENING for line in lines)


def main(argv: list[str]) -> int:
    """Run it, answer for it."""
    kind, settings = KINDS[argv[0]](), Settings(**json.loads(argv[1]))
    try:
        with running(kind, settings) as (proxy, port):
            _say({"event": "ready", "pid": proxy.process.pid, "port": port, **kind.versions()})
            _serve(proxy)
    except CannotError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CANNOT
    except _EndedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _serve(proxy: Running) -> None:
    """Until stdin ends.  _EndedError when the proxy does."""
    end = os.pidfd_open(proxy.process.pid)
    unread = b""
    while True:
        ready, _, _ = select.select([sys.stdin, end], [], [])
        if end in ready:
            raise _EndedError(proxy.last_words())
        data = os.read(sys.stdin.fileno(), 1 << 20)
        if not data:
            return
        *orders, unread = (unread + data).split(b"\n")
        for line in orders:
            order = json.loads(line)
            _say(proxy.tell(set(order["ports"]), order["seconds"]))


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
