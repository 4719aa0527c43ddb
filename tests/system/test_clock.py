"""The clock of the running daemon is moved, forth and back: what it judges is judged anew, and nothing else notices."""

from __future__ import annotations

import datetime
import json
import mmap
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_impl.administration.answers import Status
from ssa_impl.administration.client import admin_path, ask
from ssa_impl.administration.protocol import Command
from tests.certificates import NAME, context_from_pem
from tests.ssa_impl.validation import pki
from tests.system.daemons import Daemon, Program, Zygote
from tests.system.rogues import mute
from tests.system.servers import Server, echo, serving, tls

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
HOUR, DAY, YEAR = 3600, 86_400, 31_536_000
EXPIRED = "handshake failed: certificate verify failed: certificate has expired (depth 0)"
NOT_YET = (
    "handshake failed: certificate verify failed: "
    "certificate is not yet valid or the system clock is incorrect (depth 1)"
)
VERDICTS = {
    HOUR: "",
    -HOUR: "",
    5 * DAY: "",
    -DAY: "",
    40 * DAY: EXPIRED,
    -5 * DAY: NOT_YET,
    3 * YEAR: EXPIRED,
    -3 * YEAR: NOT_YET,
    0: "",
}
"""by how far the clock is from the truth; the certificate is good from two days ago for thirty days to come"""
CACHED = """
[defaults.validation]
necessary = ["trust-store-and-hostname", "revocation"]
[defaults.validation.revocation]
sources = ["cached", "ocsp"]
responder = "http://127.0.0.1:{port}/"
"""


class Clock:
    """The time that a daemon sees, as seconds from the true one."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(bytes(8))
        with file.open("r+b") as opened:
            self._moved_s = mmap.mmap(opened.fileno(), 8)

    def move(self, seconds: int) -> None:
        self._moved_s[:] = struct.pack("=q", seconds)


class Moved(Daemon):
    """A daemon whose clock can be moved."""

    def __init__(self, directory: Path, policy: str) -> None:
        library, file = directory / "clock.so", directory / "now"
        source = Path(__file__).with_name("clock.c")
        options = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(["gcc", *options, str(source), "-o", str(library)], check=True)
        self.clock = Clock(file)
        (directory / "ssa.toml").write_text(policy)
        chosen = ("--log-connections", "all", "--log-format", "json")
        more = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(file)}
        super().__init__(2, directory / "ssa.toml", *chosen, **more)

    def status(self) -> Status:
        answer = ask(admin_path(self.path), Command("status"))
        assert isinstance(answer, Status)
        return answer

    def lines(self) -> list[dict[str, str]]:
        return [json.loads(line) for line in self.log().splitlines()]


@pytest.fixture
def daemon(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Moved]:
    made = Moved(tmp_path, getattr(request, "param", ""))
    yield made
    made.clock.move(0)
    status = made.status()
    assert [worker.restarts for worker in status.workers] == [0, 0]
    assert [worker.pid for worker in status.workers] == made.workers
    assert made.stop() == 0
    made.close()


@pytest.fixture
def clients(daemon: Moved) -> Iterator[Zygote]:
    made = Zygote(daemon.path, "tests.system.crowds")
    yield made
    made.stop()


@pytest.fixture
def trusted(tmp_path: Path) -> str:
    """The file of the authority whose certificates do not last for ever."""
    (tmp_path / "ca.pem").write_bytes(pki.root().pem)
    return str(tmp_path / "ca.pem")


def moment(line: dict[str, str]) -> float:
    """Return by how many seconds the time of a line of the log is from the test's."""
    return datetime.datetime.fromisoformat(line["ts"]).timestamp() - time.time()


def word_from(program: Program) -> None:
    program.say("still there")
    assert program.hear() == "still there"


def test_certificates_are_judged_by_the_new_time_and_open_connections_go_on(
    daemon: Moved, clients: Zygote, trusted: str
) -> None:
    peer = pki.leaf()
    with serving(tls(echo, context_from_pem(peer.key_pem + peer.pem))) as server:
        case = {"port": server.port, "anchors": trusted, "name": NAME}
        neighbours = [clients.start("neighbour", port=server.port, ca=trusted) for _ in range(2)]
        for neighbour in neighbours:
            neighbour.hear()
        for moved_s, text in VERDICTS.items():
            daemon.clock.move(moved_s)
            ((errno, said),) = clients.run("verdicts", cases=[case])
            assert (errno, said) == ("EPROTO" if text else "", text), moved_s
            for neighbour in neighbours:
                word_from(neighbour)
        for neighbour in neighbours:
            neighbour.say("")
            neighbour.result()
    days = {round(moment(line) / DAY) for line in daemon.lines()}
    assert days >= {round(moved_s / DAY) for moved_s in VERDICTS}  # the daemon has really seen other days
    refused = [line["msg"] for line in daemon.lines() if line["event"] == "refused"]
    assert refused == [text for text in VERDICTS.values() if text]
    assert all(0 <= float(line["duration_s"]) < HOUR for line in daemon.lines() if line["event"] == "ended")


def responder(answer: bytes) -> Callable[[socket.socket, Server], None]:
    """Answer each OCSP request with the same, and count it."""

    def behave(connection: socket.socket, server: Server) -> None:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        server.seen.put("asked")

    return behave


def test_an_answer_of_another_time_is_asked_for_again(tmp_path: Path, trusted: str) -> None:
    """Each of two workers keeps what a responder says, but not beyond its end, however the clock came there."""
    peer = pki.leaf()
    with (
        serving(tls(echo, context_from_pem(peer.key_pem + peer.pem))) as server,
        serving(responder(pki.response(peer))) as asked,
    ):
        daemon = Moved(tmp_path, CACHED.format(port=asked.port))
        clients = Zygote(daemon.path, "tests.system.crowds")
        case = {"port": server.port, "anchors": trusted, "name": NAME}

        def questions() -> int:
            """Connect in both workers, twice; return how often the responder was asked."""
            before = asked.seen.qsize()
            assert clients.run("verdicts", cases=[case] * 4) == [["", ""]] * 4
            return asked.seen.qsize() - before

        daemon.clock.move(12 * HOUR)
        assert [questions(), questions()] == [2, 0]
        daemon.clock.move(0)
        assert [questions(), questions()] == [2, 0]
        daemon.clock.move(12 * HOUR)
        assert questions() == 0
        daemon.clock.move(3 * DAY)
        ((errno, said),) = clients.run("verdicts", cases=[case])
        assert errno == "EPROTO"
        assert "nothing kept; ocsp: it expired at" in said
        clients.stop()
        assert daemon.stop() == 0
        daemon.close()


@pytest.mark.parametrize("daemon", ["[defaults]\nhandshake_timeout_s = 2\n"], indirect=True)
@pytest.mark.parametrize("moved_s", [10 * YEAR, -10 * YEAR], ids=["forth", "back"])
def test_a_time_out_is_as_long_as_ever(daemon: Moved, clients: Zygote, ca: str, moved_s: int) -> None:
    """It ends the handshake after its two seconds, neither at once nor in ten years."""
    with serving(mute) as silent:
        program = clients.start("try_peer", port=silent.port, ca=ca)
        silent.caller()
        daemon.clock.move(moved_s)
        assert program.result() == {"connect": "EPROTO", "text": "no handshake within 2 s"}
    (line,) = (line for line in daemon.lines() if line["event"] == "refused")
    assert line["msg"] == "no handshake within 2 s"
