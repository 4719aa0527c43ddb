"""Whom the policy asks about a peer hangs, trickles or dies, under load: the policy decides, and nobody else waits."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.certificates import NAME, context_from_pem
from tests.ssa_impl.validation import pki
from tests.system.daemons import Daemon, Zygote
from tests.system.rogues import mute
from tests.system.servers import Behaviour, Server, echo, serving, tls

COUNT = 70
"""more connections at a time than there may be requests to one responder"""
PATIENT = 60
TABLE = """
[defaults.validation]
necessary = ["trust-store-and-hostname", "{strategy}"]
timeout_s = {timeout_s}
{more}
[defaults.validation.{strategy}]
{parameters}
"""


def trickle(connection: socket.socket, server: Server) -> None:
    """Send one byte after the other, none of which is the last, until nobody wants them."""
    connection.recv(65_536)
    try:
        while not server.released.wait(0.1):
            connection.send(b"H")
    except ConnectionError:
        return


def die(connection: socket.socket, _server: Server) -> None:
    """Be gone as soon as something was asked."""
    connection.recv(65_536)


def answer(connection: socket.socket, content: bytes) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)


class Place:
    """A daemon whose peers are judged by somebody, and what the peers' certificates say about whom to ask."""

    def __init__(self, directory: Path, kind: str, timeout_s: float, more: str = "") -> None:
        self._kind = kind
        self.engine = directory / "engine"
        self.ca = str(directory / "ca.pem")
        (directory / "ca.pem").write_bytes(pki.root().pem)
        strategy = "external-engine" if kind == "engine" else "revocation"
        parameters = f'sources = ["{kind}"]\nprivate_addresses = true'
        if kind == "engine":
            parameters = f'socket = "{self.engine}"'
        (directory / "ssa.toml").write_text(
            TABLE.format(strategy=strategy, timeout_s=timeout_s, more=more, parameters=parameters)
        )
        self.daemon = Daemon(1, directory / "ssa.toml")
        self.clients = Zygote(self.daemon.path, "tests.system.crowds")

    @contextmanager
    def peer(self, behave: Behaviour) -> Iterator[int]:
        """A peer that somebody who behaves so is asked about; the port."""
        with ExitStack() as stack:
            if self._kind == "engine":
                stack.enter_context(serving(behave, path=self.engine))
                credentials = pki.leaf()
            else:
                asked = stack.enter_context(serving(behave))
                url = f"http://127.0.0.1:{asked.port}/"
                credentials = pki.leaf(**{"responder" if self._kind == "ocsp" else "list_at": url})  # type: ignore[arg-type]
            context = context_from_pem(credentials.key_pem + credentials.pem)
            yield stack.enter_context(serving(tls(echo, context))).port
            self.engine.unlink(missing_ok=True)

    def close(self) -> None:
        self.clients.stop()
        assert self.daemon.stop() == 0
        self.daemon.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(kind: str, timeout_s: float, more: str = "") -> Place:
        made.append(Place(tmp_path, kind, timeout_s, more))
        return made[-1]

    yield make
    for each in made:
        each.close()


LATE = "gave no answer: no answer within 1 s"
DIED = {
    "ocsp": "the answer is no HTTP",
    "crl": "the answer is no HTTP",
    "engine": "the engine's answer is not one line",
}


@pytest.mark.parametrize("kind", ["ocsp", "crl", "engine"])
def test_the_verdict_is_the_policys(kind: str, place: Callable[..., Place]) -> None:
    judges = place(kind, 1)
    for behave, reason in ((mute, LATE), (trickle, LATE), (die, DIED[kind])):
        with judges.peer(behave) as port:
            program = judges.clients.start("judged", port=port, ca=judges.ca, count=COUNT)
            program.hear()
            program.say("")
            said = program.result()
        assert len(said) == COUNT
        assert all(errno == "EPROTO" and reason in text for errno, text in said), said


def test_a_time_out_can_count_for_the_peer(place: Callable[..., Place]) -> None:
    judges = place("engine", 1, 'timeout = "accept"')
    with judges.peer(mute) as port:
        case = {"port": port, "anchors": judges.ca, "name": NAME}
        assert judges.clients.run("verdicts", cases=[case]) == [["", ""]]


@pytest.mark.parametrize("hanging", [mute, trickle])
def test_nobody_else_waits(hanging: Behaviour, place: Callable[..., Place]) -> None:
    """While more connections than a worker has requests for one responder are stuck, others are judged and served."""
    judges = place("ocsp", PATIENT)
    answers: list[bytes] = []
    with serving(lambda connection, _: answer(connection, answers[0])) as healthy, judges.peer(hanging) as port:
        peer = pki.leaf(responder=f"http://127.0.0.1:{healthy.port}/")
        answers.append(pki.response(peer))
        with serving(tls(echo, context_from_pem(peer.key_pem + peer.pem))) as good:
            stuck = judges.clients.start("judged", port=port, ca=judges.ca, count=COUNT)
            stuck.hear()
            neighbour = judges.clients.start("neighbour", port=good.port, ca=judges.ca)
            neighbour.hear()
            case = {"port": good.port, "anchors": judges.ca, "name": NAME}
            assert judges.clients.run("verdicts", cases=[case] * 20) == [["", ""]] * 20
            neighbour.say("still there")
            assert neighbour.hear() == "still there"
            stuck.say("how many?")
            assert stuck.hear() == 0  # all of them still wait
            neighbour.say("")
            neighbour.result()
            os.kill(stuck.pid, signal.SIGKILL)
            stuck.ended_without_result()
