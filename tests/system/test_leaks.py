"""Nothing is left behind: after thousands of sockets, in whatever state they end, the daemon holds what it held.

Descriptors must come back exactly.  Of memory, what a process once needed at the same time may stay with its allocator,
so each test does the same work again and again until it adds nothing any more; what counts as nothing lies well below
what a leak of one small thing for each socket would come to.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator

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

    def is_empty(self) -> None:
        """Every process holds exactly what it held at the beginning."""
        comes_back_to(self._before)

    def stops_growing(self, work: Callable[[], object], step_bytes: int, at_least: int) -> None:
        """Do the work again and again, until twice in a row it has added less than that to every process.

        A leak adds its share each time; what was never needed at once before is added once.
        """
        done = calm = 0
        while done < at_least or calm < 2:
            before = {pid: resident_bytes(pid) for pid in self.processes}
            work()
            done += 1
            grown = {pid: resident_bytes(pid) - usual for pid, usual in before.items()}
            calm = calm + 1 if max(grown.values()) < step_bytes else 0
            assert done < at_least + 12, grown


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

    512 KiB are 210 bytes for each of 2,500 sockets in the supervisor and 420 in a worker: less than the smallest of the
    objects that stand for one.
    """

    def open_and_close() -> None:
        assert house.zygote.run("open_and_close", count=2_500) == 2_500
        house.is_empty()

    house.stops_growing(open_and_close, MIB // 2, at_least=4)


# -- programs that are killed


def generous(secured: ssl.SSLSocket, _server: Server) -> str:
    """Send more than anybody reads, and only then listen."""
    secured.sendall(bytes(8 * MIB))
    while secured.recv(65_536):
        pass
    return "ended"


PER_CROWD = 2
EACH = 21  # of four connections, and one socket that is not connected


def test_a_thousand_connections_of_programs_that_are_killed(house: House, ca: str) -> None:
    """Killed while connecting (waiting in connect, and not), reading, and writing into full buffers.

    1 MiB in a worker is 12 KiB for each of the 84 connections that it has at a time; OpenSSL's state alone is more.
    """
    with serving(mute) as silent, serving(tls(generous)) as lavish:
        stages = {"mute": silent.port, "generous": lavish.port}

        def kill_a_crowd() -> None:
            programs = [house.zygote.start("crowd", ca=ca, count=EACH, **stages) for _ in range(PER_CROWD)]
            for program in programs:
                program.hear()
                os.kill(program.pid, signal.SIGKILL)
                program.ended_without_result()
            house.is_empty()

        house.stops_growing(kill_a_crowd, MIB, at_least=6)


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
    """A listener stands in every worker; 512 KiB are 10 KiB for each of 50, and a context alone has more."""

    def listen_and_close() -> None:
        assert house.zygote.run("listen_and_close", count=50, **own) == 50
        house.is_empty()

    house.stops_growing(listen_and_close, MIB // 2, at_least=4)


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
    """Half of them are turned away; 1 MiB in a worker is 8 KiB for each of its 125, OpenSSL's state alone is more."""
    house.is_empty()
    listener = Listener(house.zygote.start("echo_server", **own))

    def come_and_go() -> None:
        for _ in range(125):
            listener.serves_an_honest_client()
            with listener.dial() as stranger:
                stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while stranger.recv(100):
                    pass

    house.stops_growing(come_and_go, MIB, at_least=4)
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
