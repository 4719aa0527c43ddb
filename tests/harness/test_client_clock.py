"""What stands on which side of the clock in one client of Python."""

import dataclasses
import gc
import ipaddress
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.clients import client
from harness.clients.client import Life, Stations
from harness.clients.openssl_client import OpensslClient
from harness.clients.stages import Board, Gate, Muster, StartLine
from harness.clients.target import Target
from tests.harness.scripted import Peer, ScriptedServer
from webservers import Authority

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.system
@pytest.mark.parametrize("name", ["server.ssa.test", "127.0.0.1"])
def test_the_name_is_taken_apart_before_the_clock_runs(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = Authority.create().issue(tmp_path_factory.mktemp("certificates"))
    with ScriptedServer(credentials, Peer.handshake) as server:
        made = OpensslClient(dataclasses.replace(server.target(2), server_name=name))
        monkeypatch.setattr(ipaddress, "ip_address", lambda _: pytest.fail("inside the clock"))
        with made._socket:
            assert made.dial()
            assert made.handshake()


class Answered:
    """A client whose server has answered."""

    connected_in_2018 = False

    def __init__(self, _: Target) -> None:
        pass

    def dial(self) -> bool:
        return True

    handshake = dial

    def send_all(self, data: bytes) -> None:
        pass

    @property
    def receive_into(self) -> Callable[[memoryview], int]:
        def receive(window: memoryview) -> int:
            window[: len(ANSWER)] = ANSWER
            return len(ANSWER)

        return receive

    def explain(self, error: Exception) -> tuple[str, int | None]:
        raise error

    def terms(self) -> dict[str, str | bool | int | None]:
        return {}


@pytest.fixture
def stations() -> Iterator[Stations]:
    made = Stations(Board(1), Muster(), Gate(), Muster(), Gate())
    made.release.open()
    made.afterwards.open()
    yield made
    for gate in (made.release, made.afterwards):
        gate.close()
    for muster in (made.ready, made.done):
        os.close(muster.read_end)
    made.board.close()
    gc.enable()


def test_processor_time_is_counted_from_behind_the_start_line(
    stations: Stations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where real-time priority is not allowed, everybody spins there until all have been seen."""
    happened = []
    run, getrusage = StartLine.run, resource.getrusage

    def noted_run(line: StartLine, board: Board, process: int, held_back_ns: int = 0) -> int:
        happened.append("start line")
        return run(line, board, process, held_back_ns)

    def noted_getrusage(who: int) -> resource.struct_rusage:
        happened.append("processor time")
        return getrusage(who)

    monkeypatch.setattr(StartLine, "run", noted_run)
    monkeypatch.setattr(client.resource, "getrusage", noted_getrusage)
    target = Target("127.0.0.1", 1, "name", "/f", "", 2, 1000)
    with Path(os.devnull).open("wb") as report:
        Life(0, stations, Answered, target).run(report.fileno())
    assert happened == ["start line", "processor time", "processor time"]
