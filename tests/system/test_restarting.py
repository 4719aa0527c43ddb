"""A port is free when the last descriptor of its listener is closed, however that comes about."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.languages import exchange, securely
from tests.system.waiting import eventually

RESTARTS = 20


@pytest.fixture(scope="module", params=["seccomp", "preload"])
def servers(request: pytest.FixtureRequest, daemon: Daemon) -> Iterator[Zygote]:
    made = Zygote(daemon.path, "tests.system.restarting", request.param)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def own() -> dict[str, str]:
    """A certificate and its key."""
    made = authority().credentials()
    chain = "".join(pem.bytes().decode() for pem in made.cert_chain_pems)
    return {"chain": chain, "key": made.private_key_pem.bytes().decode()}


def is_served(port: int) -> bool:
    with securely(port) as client:
        return exchange(client, b"hello") == b"hello"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_server_that_is_killed_starts_again_at_once(servers: Zygote, own: dict[str, str]) -> None:
    port = 0
    for _ in range(RESTARTS):
        program = servers.start("server", port=port, **own)
        port = program.hear()
        assert is_served(port)
        kill(program.pid)
        program.ended_without_result()


def test_a_child_keeps_the_port_until_it_is_killed_too(servers: Zygote, own: dict[str, str]) -> None:
    parent = servers.start("server_with_a_child", **own)
    port, child = parent.hear()
    kill(parent.pid)
    parent._lines.close()
    assert servers.run("try_to_listen", port=port, **own) == "EADDRINUSE"
    assert is_served(port)
    kill(child)
    assert servers.run("try_to_listen", port=port, **own) == ""


def test_a_port_that_is_taken_is_refused_at_once(servers: Zygote, own: dict[str, str]) -> None:
    """By a TCP program, and by a secure listener that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        assert servers.run("try_to_listen", port=tcp.getsockname()[1], **own) == "EADDRINUSE"
    program = servers.start("server", port=0, **own)
    port = program.hear()
    assert servers.run("try_to_listen", port=port, **own) == "EADDRINUSE"
    kill(program.pid)
    program.ended_without_result()


def test_one_process_listens_again_and_again(servers: Zygote, own: dict[str, str]) -> None:
    assert servers.run("close_and_listen_again", count=3, **own) == ""


def test_a_plain_program_gets_the_port_soon(servers: Zygote, own: dict[str, str]) -> None:
    program = servers.start("server", port=0, **own)
    port = program.hear()
    kill(program.pid)
    program.ended_without_result()

    def is_free() -> bool:
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    eventually(is_free)


def test_a_listener_outlives_the_program_that_made_it(servers: Zygote, own: dict[str, str]) -> None:
    """Exec in place: at the preload boundary its channel ends there, and the next accept claims it."""
    program = servers.start("server_that_becomes_another", **own)
    port = program.hear()
    assert is_served(port)
    kill(program.pid)
    program.ended_without_result()
    assert servers.run("try_to_listen", port=port, **own) == ""
