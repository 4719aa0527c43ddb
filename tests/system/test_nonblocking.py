"""Programs that poll: a connection is writable when, and only when, the handshake has ended."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.certificates import authority
from tests.system.daemons import Zygote
from tests.system.servers import BODY_SHA256, Behaviour, Server, download, serving, stall, tls


def held_back(gate: threading.Event) -> Behaviour:
    """An echo server that begins its handshake when the gate opens."""
    context = authority().server_context()

    def behave(connection: socket.socket, server: Server) -> None:
        assert gate.wait(60)
        with context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as secured:
            while piece := secured.recv(1000):
                secured.sendall(piece)
            with contextlib.suppress(OSError):
                secured.unwrap()
        server.seen.put("ended")

    return behave


@pytest.mark.parametrize("how", ["poll", "select", "epoll", "edge"])
def test_writable_when_the_handshake_has_ended_and_not_before(how: str, zygote: Zygote, ca: str) -> None:
    gate = threading.Event()
    with serving(held_back(gate)) as server:
        program = zygote.start("poll_around_connect", port=server.port, ca=ca, how=how)
        server.caller()
        assert program.hear() == {
            "started": "EINPROGRESS",
            "early": False,
            "second": "EALREADY",
            "write early": "EAGAIN",
            "read early": "EAGAIN",
            "peer early": "ENOTCONN",
            "so_error early": "",
        }
        gate.set()
        program.say()
        got = program.result()
        assert (got["late"], got["so_error"], got["third"], got["echo"]) == (True, "", "EISCONN", "after connect")
        assert server.word() == "ended"


def test_asyncio(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("with_asyncio", port=web.port, ca=ca) == [BODY_SHA256] * 10
    assert [web.word() for _ in range(10)] == ["in order"] * 10


def test_asyncio_streams(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("with_asyncio_streams", port=web.port, ca=ca) == BODY_SHA256


def test_asyncio_sees_a_failure(zygote: Zygote, ca: str) -> None:
    with serving(tls(download)) as server:
        assert zygote.run("asyncio_failure", port=server.port, ca=ca) == "EPROTO"


def test_a_time_out_of_the_programs_own(zygote: Zygote, ca: str) -> None:
    with serving(stall) as server:
        assert zygote.run("with_timeout", port=server.port, ca=ca) == "timed out"
        assert server.word() in {"client ended", "client reset"}
