"""The programs of ``examples/``: how each language's are built and started, and the peers that they talk to."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.lines import LANGUAGES, Language
from ssa_impl.cli.generate import HEADER
from tests.certificates import NAME, authority
from tests.system.daemons import PATIENCE_S, ROOT, Daemon, environment, open_log
from tests.system.servers import BODY, Server

PATH = "/a/path"


@dataclass(frozen=True)
class Way:
    """What a language needs before its programs run."""

    command: tuple[str, ...]
    """the interpreter or the compiler with its options"""
    package: str
    """the Debian package that brings it"""
    compiles: bool = False


_C = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{HEADER.parent}")
WAYS = {
    "C, dynamic": Way(("gcc", *_C), "gcc", compiles=True),
    "C, static (musl)": Way(("musl-gcc", "-static", *_C), "musl-tools", compiles=True),
    "Python, `socket`": Way((sys.executable,), "python3"),
    "Python, `select`": Way((sys.executable,), "python3"),
    "Python, asyncio `sock_*`": Way((sys.executable,), "python3"),
    "Go, `net`": Way(("go", "build"), "golang-go", compiles=True),
    "PHP, `socket_*`": Way(("php",), "php-cli"),
    "Perl": Way(("perl", "-w"), "perl"),
    "Ruby, `Socket`": Way(("ruby", "-w"), "ruby"),
}


class Programs:
    """Builds what must be built, once in a test run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def command(self, language: Language, program: str) -> list[str]:
        """Return how a program is started; skip the test where the language is not installed."""
        way, source = WAYS[language.name], language.source(program)
        if shutil.which(way.command[0]) is None:
            pytest.skip(f"{way.command[0]} is not installed: apt-get install {way.package}")
        if not way.compiles:
            return [*way.command, str(source)]
        built = self._directory / f"{LANGUAGES.index(language)}-{program}"
        if not built.exists():
            self._build([*way.command, "-o", str(built), str(source)])
        return [str(built)]

    def _build(self, command: list[str]) -> None:
        go = {"CGO_ENABLED": "0", "GOCACHE": str(self._directory / "go"), "GOTOOLCHAIN": "local", "GOPROXY": "off"}
        done = subprocess.run(command, env={**os.environ, **go}, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def under(daemon: Daemon, boundary: str) -> list[str]:
    """Return what comes before a command that shall have secure sockets."""
    ssa = [sys.executable, "-m", "ssa_impl.cli.ssa", "run", "--socket", str(daemon.path)]
    return [*ssa, "--boundary", boundary, "--"]


# -- peers of the clients


def page(connection: socket.socket) -> str:
    """Answer one request with the body, or with 404; return the request."""
    with connection.makefile("rb") as lines:
        request = b"".join(iter(lines.readline, b"\r\n"))
    found = f"GET {PATH} HTTP/1.1\r\n".encode() in request
    status, body = ("200 OK", BODY) if found else ("404 Not Found", b"not here")
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)
    return request.decode()


def secure_page(connection: ssl.SSLSocket, _server: Server) -> str:
    """Be a web server that ends in order, with close_notify."""
    request = page(connection)
    with contextlib.suppress(ssl.SSLZeroReturnError):
        connection.unwrap()
    return request


def plain_page(connection: socket.socket, server: Server) -> None:
    """Be the same web server without TLS."""
    server.seen.put(page(connection))


# -- the servers, and their peers


class Serving:
    """A running echo server."""

    def __init__(self, command: list[str]) -> None:
        self._log = open_log()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, env=environment(), cwd=ROOT
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("listening on "), (line, self.stop())
        self.port = int(line.split()[-1])

    def terminate(self) -> int:
        """End it as an administrator would; return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def stop(self) -> str:
        """End it, come what may; return what it has complained about."""
        if self.process.poll() is None:
            self.process.terminate()  # ssa run hands it on to the program, which SIGKILL would leave behind
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE_S)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        with self._log as log:
            log.seek(0)
            return log.read()


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[Serving]:
    """Run an echo server for the length of a test; it must have nothing to complain about."""
    server = Serving(command)
    try:
        yield server
    except BaseException:
        server.stop()
        raise
    assert server.stop() == ""


Connect = Callable[[int], socket.socket]


def plainly(port: int) -> socket.socket:
    """Connect without TLS."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def securely(port: int) -> ssl.SSLSocket:
    """Connect with the standard library's TLS, which verifies the server."""
    context = ssl.create_default_context(cadata=authority().anchors_pem.decode())
    return context.wrap_socket(plainly(port), server_hostname=NAME, suppress_ragged_eofs=False)


def exchange(connection: socket.socket, line: bytes) -> bytes:
    """Send a line; return what comes back, as long as the line is."""
    connection.sendall(line)
    answer = bytearray()
    while len(answer) < len(line) and (piece := connection.recv(65_536)):
        answer += piece
    return bytes(answer)


def finish(connection: socket.socket) -> bytes:
    """Say that no more comes; return what the server still sends before it ends in order."""
    if isinstance(connection, ssl.SSLSocket):
        with connection.unwrap() as raw:
            return raw.recv(1)
    connection.shutdown(socket.SHUT_WR)
    with connection:
        return connection.recv(1)
