"""The administration socket and the metrics', with real sockets and a provider that knows its answers by heart."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ssa_impl.administration import scrape, service
from ssa_impl.administration.answers import Reloaded, Sessions
from ssa_impl.administration.client import NoDaemon, admin_path, ask
from ssa_impl.administration.interface import Caller, Question, Refused
from ssa_impl.administration.protocol import MAX_REQUEST_BYTES, Command, ReloadWanted, SessionsWanted
from tests.ssa_impl.administration.answers import SESSIONS, STATUS, Defective, Scripted

STRANGER = 65534


def served(path: Path, provider: Scripted, talk: Callable[[], Any], daemon_uid: int | None = None) -> Any:
    """Run ``talk`` in a thread while the provider is served at ``path``; return its result."""

    async def main() -> Any:
        with service.listening(path) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    service.serve, listener, provider, os.geteuid() if daemon_uid is None else daemon_uid
                )
                with trio.fail_after(90):
                    result = await trio.to_thread.run_sync(talk)
                nursery.cancel_scope.cancel()
        return result

    return trio.run(main)


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(90)
    connection.connect(str(path))
    return connection


def replies(path: Path, data: bytes) -> list[dict[str, Any]]:
    """Say something, end, and return all answers."""
    with closing(connected(path)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as lines:
            return [json.loads(line) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return admin_path(tmp_path / "control.sock")


def test_a_command_is_answered(path: Path) -> None:
    assert served(path, Scripted(), lambda: ask(path, Command("status"))) == STATUS
    assert path.name == "control.sock.admin"


def test_parameters_arrive(path: Path) -> None:
    provider = Scripted()
    asked = Question(executable="/usr/bin/curl", user="alice")

    def talk() -> None:
        assert ask(path, Command("sessions", SessionsWanted(2))) == Sessions(SESSIONS[:2], 3)
        assert ask(path, Command("reload", ReloadWanted())) == Reloaded(("/etc/ssa/ssa.toml",), 2)
        ask(path, Command("explain", asked))

    served(path, provider, talk)
    assert provider.asked == [("sessions", None, 2), ("reload", False), (asked, Caller(os.geteuid(), os.getpid()))]


def test_a_refusal_brings_all_complaints(path: Path) -> None:
    def talk() -> Refused:
        with pytest.raises(Refused) as caught:
            ask(path, Command("reload", ReloadWanted(enforce=True)))
        return caught.value

    refused = served(path, Scripted(), talk)
    assert refused.complaints == ("ssa.toml:3: no such key", "ssa.toml:9: a cycle")


def test_lines_follow_each_other_and_a_bad_one_harms_nobody(path: Path) -> None:
    said = b'{"command":"drain"}\nnonsense\n{"command":"metrics"}\n{"command":"drain"'
    answers = served(path, Scripted(), lambda: replies(path, said))
    assert [answer["ok"] for answer in answers] == [True, False, True]
    assert answers[1]["error"] == "not a line of JSON"


def test_a_line_without_end_is_refused(path: Path) -> None:
    (answer,) = served(path, Scripted(), lambda: replies(path, b"x" * (MAX_REQUEST_BYTES + 1)))
    assert answer["error"] == f"a request has at most {MAX_REQUEST_BYTES} bytes"


def test_a_defect_is_an_answer_and_a_line_of_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def talk() -> None:
        with pytest.raises(Refused, match="its log says more"):
            ask(path, Command("status"))
        ask(path, Command("drain"))

    served(path, Defective(), talk)
    assert "a defect kept an administrator from an answer" in caplog.text


def test_the_socket_is_the_users_alone_and_goes_with_the_daemon(path: Path) -> None:
    path.write_text("left behind")
    assert served(path, Scripted(), lambda: stat.S_IMODE(path.stat().st_mode)) == 0o600
    assert not path.exists()


def as_stranger(address: str) -> socket.socket:
    """Connect as somebody else, where the test may be that; elsewhere the daemon is somebody else's."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(90)
    ours = os.geteuid()
    if ours == 0:
        os.seteuid(STRANGER)
    try:
        connection.connect(address)
    finally:
        os.seteuid(ours)
    return connection


def strangers_answer(serve: Callable[[socket.socket, int], Any], said: bytes) -> bytes:
    """Say something as a stranger to a socket that an administrator has opened to everybody."""
    daemon_uid = 0 if os.geteuid() == 0 else os.geteuid() + 1

    async def main() -> bytes:
        address = f"\0ssa-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
            listener.bind(address)
            listener.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener, daemon_uid)

                def talk() -> bytes:
                    with closing(as_stranger(address)) as connection:
                        connection.sendall(said)
                        connection.shutdown(socket.SHUT_WR)
                        with connection.makefile("rb") as answer:
                            return answer.read()

                heard = await trio.to_thread.run_sync(talk)
                nursery.cancel_scope.cancel()
        return heard

    return trio.run(main)


def test_an_ordinary_user_sees_sockets_of_his_own_and_does_nothing() -> None:
    provider = Scripted()
    names = ["status", "profiles", "reload", "drain", "metrics"]
    lines = [json.dumps({"command": name}) for name in [*names, "sessions"]]
    said = "".join(f"{line}\n" for line in [*lines, '{"command": "explain", "pid": 1}'])

    async def serve(listener: socket.socket, daemon_uid: int) -> None:
        await service.serve(listener, provider, daemon_uid)

    *refused, own, explained = map(json.loads, strangers_answer(serve, said.encode()).splitlines())
    for name, answer in zip([*names, "explain"], [*refused, explained], strict=True):
        assert answer["error"] == f"only root and the user who runs the daemon may ask for {name}"
    uid = STRANGER if os.geteuid() == 0 else os.geteuid()
    assert own["ok"]
    assert provider.asked == [("sessions", uid, 100_000)]
    assert {session["uid"] for session in own["answer"]["sessions"]} <= {uid}


def test_an_ordinary_user_reads_no_metrics() -> None:
    async def serve(listener: socket.socket, daemon_uid: int) -> None:
        await scrape.serve(listener, Scripted().metrics, daemon_uid)

    assert strangers_answer(serve, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
        (b"GET /?x HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET /other HTTP/1.1\r\n\r\n", b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"GET /metrics\r\n\r\n", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\n", b"400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 9000, b"400 Bad Request"),
        (b"", b"400 Bad Request"),
    ],
)
def test_scrapers_are_answered(tmp_path: Path, request_head: bytes, status: bytes) -> None:
    path = scrape.metrics_path(tmp_path / "control.sock")

    def talk() -> bytes:
        with closing(connected(path)) as connection:
            connection.sendall(request_head)
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile("rb") as answer:
                return answer.read()

    async def main() -> bytes:
        with service.listening(path) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(scrape.serve, listener, Scripted().metrics, os.geteuid())
                heard = await trio.to_thread.run_sync(talk)
                nursery.cancel_scope.cancel()
        return heard

    head, _, body = trio.run(main).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert f"Content-Length: {len(body)}".encode() in head
    if status == b"200 OK":
        assert body == b"# EOF\n"
        assert b"application/openmetrics-text; version=1.0.0" in head


def test_without_a_daemon_it_says_so(path: Path) -> None:
    with pytest.raises(NoDaemon, match=f"no daemon answers at .*: {os.strerror(errno.ENOENT)}; start ssad"):
        ask(path, Command("status"))


def test_a_path_that_no_socket_can_have_is_said(path: Path) -> None:
    with pytest.raises(NoDaemon, match=r"no daemon answers at .*: AF_UNIX path too long; start ssad"):
        ask(path.with_name("x" * 200), Command("status"))


@pytest.mark.parametrize("said", [b"", b"hello\n", b'{"ok": true, "answer": []}\n'])
def test_who_is_no_daemon_is_found_out(path: Path, said: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, partial(speak, listener, said))
                with pytest.raises(NoDaemon, match="no ssad of this version"):
                    await trio.to_thread.run_sync(partial(ask, path, Command("status")))

        trio.run(main)


def speak(listener: socket.socket, said: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(100)
        connection.sendall(said)


def test_a_daemon_that_says_nothing_is_given_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(NoDaemon, match="has not answered within"):
            ask(path, Command("status"), patience_s=0.05)
