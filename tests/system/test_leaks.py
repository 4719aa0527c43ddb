"""Nothing is left behind: after thousands of sockets, in whatever state they end, the daemon holds what it held.

Descriptors must come back exactly.  Of memory, what a process once needed at the same time may stay with its allocator,
so each test first does the same work on a small scale and then bounds what the rest of it adds; the bounds lie well
below what a leak of one small thing for each socket would come to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.holdings import comes_back_to, descriptors, resident_bytes
from tests.system.honest import Listener
from tests.system.rogues import mute
from tests.system.servers import Server, serving, tls
from tests.system.waiting import eventually

MIB = 1 << 20


class House:
    """A daemon and a supervisor that nobody else uses, and what they held before the first secure socket.

    Under the preload boundary the program itself stands where the supervisor does.
    """

    def __init__(self, daemon: Daemon, zygote: Zygote) -> None:
        self.daemon = daemon
        self.zygote = zygote
        self.processes = [daemon.process.pid, *daemon.workers, zygote.process.pid]
        self._before = descriptors(self.processes)
        self._memory: dict[int, int] = {}

    def is_empty(self) -> None:
        """Every process holds exactly what it held at the beginning."""
        comes_back_to(self._before)

    def note_memory(self) -> None:
        """Call what is resident now the usual."""
        self._memory = {pid: resident_bytes(pid) for pid in self.processes}

    def has_not_grown_by(self, size_bytes: int) -> None:
        """No process has that much more than the usual."""
        grown = {pid: resident_bytes(pid) - usual for pid, usual in self._memory.items()}
        assert max(grown.values()) < size_bytes, grown


@pytest.fixture(scope="module", params=["seccomp", "preload"])
def house(request: pytest.FixtureRequest) -> Iterator[House]:
    """A daemon with two workers, and where its clients and servers come from."""
    daemon = Daemon()
    zygote = Zygote(daemon.path, "tests.system.crowds", request.param)
    zygote.run("nothing")
    yield House(daemon, zygote)
    zygote.stop()
    assert daemon.stop() == 0
    daemon.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of a server's certificate and key."""
    directory = tmp_path_factory.mktemp("own")
    issued = authority().credentials()
    (directory / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return {"chain": str(directory / "chain.pem"), "key": str(directory / "key.pem")}


# -- sockets that never connect


def test_ten_thousand_sockets(house: House) -> None:
    """Each is a channel, a task and a TCP socket of the daemon's, and an entry of the supervisor's.

    2 MiB are 210 bytes for each of the sockets in the supervisor and 420 in a worker: less than the smallest of the
    objects that stand for one.
    """
    house.zygote.run("open_and_close", count=1000)
    house.is_empty()
    house.note_memory()
    assert house.zygote.run("open_and_close", count=10_000) == 10_000
    house.is_empty()
    house.has_not_grown_by(2 * MIB)


# -- programs that are killed


def generous(secured: ssl.SSLSocket, _server: Server) -> str:
    """Send more than anybody reads, and only then listen."""
    secured.sendall(bytes(8 * MIB))
    while secured.recv(65_536):
        pass
    return "ended"


PER_BATCH = 2
EACH = 21  # of four connections, and one socket that is not connected


def test_a_thousand_connections_of_programs_that_are_killed(house: House, ca: str) -> None:
    """Killed while connecting (waiting in connect, and not), reading, and writing into full buffers.

    4 MiB in a worker are 12 KiB for each of its 336 connections after the first batches; OpenSSL's state alone is more.
    """
    with serving(mute) as silent, serving(tls(generous)) as lavish:
        stages = {"mute": silent.port, "generous": lavish.port}
        for batch in range(6):
            programs = [house.zygote.start("crowd", ca=ca, count=EACH, **stages) for _ in range(PER_BATCH)]
            for program in programs:
                program.hear()
                os.kill(program.pid, signal.SIGKILL)
                program.ended_without_result()
            house.is_empty()
            if batch == 1:
                house.note_memory()
    house.has_not_grown_by(4 * MIB)


# -- listeners


class Callers:
    """Peers of a listener, in every stage before accept."""

    def __init__(self, port: int, count: int) -> None:
        context = ssl.create_default_context(cadata=authority().anchors_pem.decode())
        context.check_hostname = False
        self._address = ("127.0.0.1", port)
        self.silent = [self._dial() for _ in range(count)]
        self.halfway = [self._dial() for _ in range(count)]
        for caller in self.halfway:
            caller.sendall(bytes.fromhex("160301 00c8 010000c4 0303"))  # the beginning of a ClientHello
        self.ready = [context.wrap_socket(self._dial()) for _ in range(count)]
        for caller in self.ready:
            caller.sendall(b"hello")

    def _dial(self) -> socket.socket:
        caller = socket.create_connection(self._address)
        caller.settimeout(30)
        return caller

    def everybody_is_told(self) -> None:
        """Each sees its connection end."""
        for caller in [*self.silent, *self.halfway, *self.ready]:
            with caller, contextlib.suppress(ConnectionError, ssl.SSLError):
                while caller.recv(65_536):
                    pass


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_listener_that_ends_with_connections_pending(end: str, house: House, own: dict[str, str]) -> None:
    house.is_empty()
    program = house.zygote.start("listen_only", close=end == "closed", **own)
    callers = Callers(program.hear(), 10)
    program.say()
    assert program.hear() is True  # readable: somebody waits to be accepted
    if end == "killed":
        os.kill(program.pid, signal.SIGKILL)
        program.ended_without_result()
    callers.everybody_is_told()
    if end == "closed":
        program.say()
        assert program.result() == "closed"
    house.is_empty()


def test_listeners_one_after_the_other(house: House, own: dict[str, str]) -> None:
    """A listener stands in every worker; 2 MiB are 10 KiB for each of 200, and a context alone has more."""
    house.zygote.run("listen_and_close", count=50, **own)
    house.is_empty()
    house.note_memory()
    assert house.zygote.run("listen_and_close", count=200, **own) == 200
    house.is_empty()
    house.has_not_grown_by(2 * MIB)


def test_a_server_that_is_killed_with_connections_accepted(house: House, own: dict[str, str]) -> None:
    house.is_empty()
    for _ in range(3):
        program = house.zygote.start("accept_and_stop", count=20, **own)
        callers = Callers(program.hear(), 20)
        assert program.hear() == 20
        os.kill(program.pid, signal.SIGKILL)
        program.ended_without_result()
        callers.everybody_is_told()
    house.is_empty()


def test_a_thousand_peers_of_one_listener(house: House, own: dict[str, str]) -> None:
    """Half of them are turned away; 4 MiB in a worker are 8 KiB for each of its 500, OpenSSL's state alone is more."""
    house.is_empty()
    listener = Listener(house.zygote.start("echo_server", **own))
    for count in range(1200):
        if count == 200:
            house.note_memory()
        if count % 2:
            listener.serves_an_honest_client()
        else:
            with listener.dial() as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while stranger.recv(100):
                    pass
    house.has_not_grown_by(4 * MIB)
    assert listener.heard() == []
    house.is_empty()


def test_the_names_of_listeners_go_with_them(house: House, own: dict[str, str]) -> None:
    """A listener's unix socket has a name in the daemon's private directory for as long as it listens, if at all."""
    private = house.daemon.path.with_name(house.daemon.path.name + ".d")
    before = set(private.iterdir())
    program = house.zygote.start("listen_only", close=False, **own)
    program.hear()
    os.kill(program.pid, signal.SIGKILL)
    program.ended_without_result()
    eventually(lambda: set(private.iterdir()) == before)
