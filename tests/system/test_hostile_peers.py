"""Peers that break the rules, in both roles: a defined errno for whoever talks to them, and nothing for the others.

While each of them does its worst, two honest connections, one in each worker, must go on; and the workers must not
grow.  Endless things are sent for as long as the daemon listens, so a daemon that listened for ever would not pass.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing
from OpenSSL import SSL

from tests.certificates import authority
from tests.ssa_impl.daemon.lines import Line, play, push
from tests.ssa_impl.tls.peers import everything, server_context
from tests.ssa_impl.tls.test_streams import acceptor
from tests.system import rogues
from tests.system.daemons import Daemon, Program, Zygote
from tests.system.holdings import resident_bytes
from tests.system.honest import Listener, client_context, dial
from tests.system.records import noting_secrets, records_of
from tests.system.servers import echo, serving, tls
from tests.system.waiting import eventually

MIB = 1 << 20


class House:
    """A daemon, where its programs come from, and two honest connections."""

    def __init__(self, daemon: Daemon, zygote: Zygote, neighbours: list[Program]) -> None:
        self.daemon = daemon
        self.zygote = zygote
        self._neighbours = neighbours
        self._words = map(str, itertools.count(1))
        self.neighbours_are_well()
        self._usual = {pid: resident_bytes(pid) for pid in daemon.workers}

    def neighbours_are_well(self) -> None:
        """Each sends a word and gets it back."""
        for neighbour in self._neighbours:
            word = next(self._words)
            neighbour.say(word)
            assert neighbour.hear() == word

    def has_not_grown_by(self, size_bytes: int) -> None:
        grown = {pid: resident_bytes(pid) - usual for pid, usual in self._usual.items()}
        assert max(grown.values()) < size_bytes, grown


@pytest.fixture(scope="module")
def town(ca: str) -> Iterator[House]:
    daemon = Daemon()
    zygote = Zygote(daemon.path, "tests.system.crowds")
    with serving(tls(echo)) as server:
        neighbours = [zygote.start("neighbour", port=server.port, ca=ca) for _ in range(2)]
        assert {neighbour.hear() for neighbour in neighbours} == {0, 1}
        yield House(daemon, zygote, neighbours)
        for neighbour in neighbours:
            neighbour.say("")
            assert neighbour.result() > 0
    assert sorted(daemon.worker_pids()) == sorted(daemon.workers)
    zygote.stop()
    assert daemon.stop() == 0
    daemon.close()


@pytest.fixture
def start_crowd() -> Iterator[Callable[[Daemon], Zygote]]:
    """Programs for a daemon of one's own."""
    started: list[Zygote] = []

    def start(daemon: Daemon) -> Zygote:
        started.append(Zygote(daemon.path, "tests.system.crowds"))
        return started[-1]

    yield start
    for zygote in started:
        zygote.stop()


@pytest.fixture
def house(town: House) -> Iterator[House]:
    """After each test: the neighbours are well, and 16 MiB are not reached, which is what 64 full buffers come to."""
    yield town
    town.neighbours_are_well()
    town.has_not_grown_by(16 * MIB)


# -- hostile servers


@pytest.mark.parametrize("what", rogues.NO_HANDSHAKE)
def test_a_server_that_does_not_shake_hands(what: str, house: House, ca: str) -> None:
    with serving(rogues.instead_of_a_handshake(rogues.NO_HANDSHAKE[what])) as server:
        got = house.zygote.run("try_peer", port=server.port, ca=ca)
        server.word()
    assert got["connect"] == "EPROTO"
    assert got["text"]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_whose_bytes_come_one_by_one(version: str, house: House, ca: str) -> None:
    with serving(rogues.byte_by_byte(version)) as server:
        got = house.zygote.run("try_peer", port=server.port, ca=ca)
        assert server.word() == "in order"
    assert got == {"connect": "", "send": "", "heard": ["hello", ""], "text": ""}


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "reset"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_that_ends_in_the_middle(version: str, share: float, reset: bool, house: House, ca: str) -> None:
    with serving(rogues.ending_after(share, version, reset=reset)) as server:
        got = house.zygote.run("try_peer", port=server.port, ca=ca)
        assert server.word() == "ended by me"
    assert got["connect"] == ("ECONNRESET" if reset else "EPROTO")


@pytest.mark.parametrize(("version", "connect"), [("1.2", "EPROTO"), ("1.3", "")])
def test_a_server_that_ends_after_its_flight(version: str, connect: str, house: House, ca: str) -> None:
    """In TLS 1.3 the handshake is complete for the client then; what does not follow is a cut stream."""
    with serving(rogues.ending_after(1, version, reset=False)) as server:
        got = house.zygote.run("try_peer", port=server.port, ca=ca)
        assert server.word() == "ended by me"
    assert got["connect"] == connect
    assert connect or got["heard"] == ["", "ECONNRESET"]


@pytest.mark.parametrize("what", rogues.AFTERWARDS)
def test_a_server_that_misbehaves_later(what: str, house: House, ca: str) -> None:
    make, goes_on = rogues.AFTERWARDS[what]
    with serving(rogues.afterwards(make, goes_on=goes_on)) as server:
        got = house.zygote.run("try_peer", port=server.port, ca=ca)
        server.word()
    assert (got["connect"], got["send"]) == ("", "")
    if goes_on:
        assert got["heard"] == [rogues.LAST_WORDS.decode(), ""]
    else:
        assert got["heard"] == ["", "ECONNRESET"]
        assert got["text"]


# -- hostile clients


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of a server's certificate and key."""
    directory = tmp_path_factory.mktemp("own")
    issued = authority().credentials()
    (directory / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return {"chain": str(directory / "chain.pem"), "key": str(directory / "key.pem")}


@pytest.fixture
def listener(house: House, own: dict[str, str]) -> Listener:
    return Listener(house.zygote.start("echo_server", **own))


@pytest.mark.parametrize("what", rogues.NO_HANDSHAKE)
def test_a_client_that_does_not_shake_hands(what: str, listener: Listener) -> None:
    """It is turned away and the application hears nothing of it."""
    for _ in range(4):
        with dial(listener.port) as client:
            rogues.pour(client, rogues.NO_HANDSHAKE[what]())
            listener.serves_an_honest_client()
    assert listener.heard() == []


def client_hello() -> bytes:
    """Return an honest client's first words."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99, 1])
@pytest.mark.parametrize("end", ["silence", "FIN", "reset"])
def test_clients_that_stop_in_the_middle(share: float, end: str, listener: Listener) -> None:
    hello = client_hello()
    clients = []
    for _ in range(50):
        clients.append(dial(listener.port))
        clients[-1].sendall(hello[: int(share * len(hello))])
        if end == "FIN":
            clients[-1].shutdown(socket.SHUT_WR)
        elif end == "reset":
            clients[-1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            clients[-1].close()
    listener.serves_an_honest_client()
    for client in clients:
        client.close()
    assert listener.heard() == []


def test_a_client_whose_bytes_come_one_by_one(listener: Listener) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls_client = client_context().wrap_bio(incoming, outgoing)
    with dial(listener.port) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def send() -> None:
            data = outgoing.read()
            for position in range(len(data)):
                client.sendall(data[position : position + 1])

        heard = b""
        shaken = False
        while heard != b"slowly":
            try:
                if not shaken:
                    tls_client.do_handshake()
                    shaken = True
                    tls_client.write(b"slowly")
                heard += tls_client.read(100)
            except ssl.SSLWantReadError:
                send()
                incoming.write(client.recv(65_536))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls_client.unwrap()
        send()
        while client.recv(65_536):
            pass
    assert listener.heard() == [["slowly", ""]]


@pytest.mark.parametrize("end", ["FIN", "reset"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_that_ends_without_a_farewell(version: ssl.TLSVersion, end: str, listener: Listener) -> None:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with context.wrap_socket(dial(listener.port)) as client:
        client.sendall(b"words")
        assert client.recv(100) == b"words"
        if end == "FIN":
            socket.socket.shutdown(client, socket.SHUT_WR)
        else:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        listener.serves_an_honest_client()
    assert listener.heard() == [["words", "ECONNRESET"]]


@pytest.mark.parametrize("what", rogues.AFTERWARDS)
def test_a_client_that_misbehaves_later(what: str, listener: Listener) -> None:
    make, goes_on = rogues.AFTERWARDS[what]
    goes_on = goes_on and what != "many tickets"  # which are a server's to give
    secured, records = rogues.client_with_records(listener.port)
    with secured, socket.socket(fileno=secured.detach()) as raw:
        raw.settimeout(30)
        rogues.pour(raw, itertools.chain(make(records), rogues.in_order(records) if goes_on else ()))
    listener.serves_an_honest_client()
    assert listener.heard() == ([[rogues.LAST_WORDS.decode(), ""]] if goes_on else [["", "ECONNRESET"]])


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for some thousands of connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_more_clients_than_handshakes_may_be_under_way(
    own_daemon: Daemon, start_crowd: Callable[[Daemon], Zygote], own: dict[str, str]
) -> None:
    """In each worker 1,024 may wait; beyond that the oldest gives way, and honest clients are served all the time.

    Each costs 100 KiB at most (OpenSSL's state, a task, a buffer).
    """
    listener = Listener(start_crowd(own_daemon).start("echo_server", **own))
    listener.serves_an_honest_client()
    usual = {pid: resident_bytes(pid) for pid in own_daemon.workers}
    descriptors = own_daemon.descriptors()
    with contextlib.ExitStack() as clients:
        for _ in range(22):
            for _ in range(100):
                clients.enter_context(dial(listener.port))
            listener.serves_an_honest_client()
        eventually(lambda: all(own_daemon.descriptors()[pid] <= 1024 + few + 16 for pid, few in descriptors.items()))
        for pid, size in usual.items():
            assert resident_bytes(pid) - size < (1024 + 200) * 100 * 1024
    assert listener.heard() == []


# -- in this process


def test_who_provokes_answers_and_does_not_read_them_is_heard_no_further() -> None:
    """Each KeyUpdate is answered with another: a peer that takes none must not fill the memory with them."""
    context = server_context("1.3")
    taken = 0

    async def scene(line: Line) -> None:
        nonlocal taken
        while push(line.application, bytes(65_536)):  # until the peer's window is full, and every buffer before it
            await trio.testing.wait_all_tasks_blocked()
        records = records_of(line.peer.tls, secrets)
        for _ in range(80):
            updates = b"".join(records.key_update(wanted_back=True) for _ in range(1000))
            sent = push(line.far, updates)
            taken += sent
            if sent < len(updates):
                break
            await trio.testing.wait_all_tasks_blocked()

    with noting_secrets(context) as secrets:
        play(scene, context=context)
    assert taken < MIB, "the peer is still listened to"


def test_a_client_that_asks_to_renegotiate_is_refused_and_goes_on() -> None:
    """TLS 1.2, which still has it (RFC 5246 section 7.2.2: no_renegotiation)."""
    engine = acceptor("1.2")
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client = SSL.Connection(context, None)
    client.set_connect_state()

    def client_speaks() -> None:
        with contextlib.suppress(SSL.WantReadError):
            client.do_handshake()
        with contextlib.suppress(SSL.WantReadError):
            engine.receive(client.bio_read(1 << 20))

    client_speaks()
    while not engine.handshake():
        client.bio_write(everything(engine))
        client_speaks()
    client.bio_write(everything(engine))
    client_speaks()
    assert client.renegotiate()
    client_speaks()
    room = memoryview(bytearray(100))
    assert engine.read_into(room) == 0
    answer = everything(engine)
    assert answer[0] == 21  # an alert, and no handshake
    engine.write(b"still here")
    assert everything(engine)
