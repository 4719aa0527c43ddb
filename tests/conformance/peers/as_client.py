"""Peers of programs that listen.  The program tells its port first."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from tests.conformance.credentials import OTHER_NAME, WILD_NAME
from tests.conformance.stage import Connection, Stage, quiet
from tests.conformance.world import NAME

__all__ = [
    "asks_for_a_stranger",
    "asks_for_names",
    "asks_with_alpn",
    "asks_with_versions",
    "connects_after_the_bad_ones",
    "connects_all_at_once",
    "connects_and_leaves",
    "connects_from_ipv6",
    "connects_one_by_one",
    "connects_to_a_closed_port",
    "connects_when_told",
    "interrupts_an_accept",
    "keeps_a_connection",
    "lets_the_program_end_first",
    "prefers_ecdsa_or_rsa",
    "presents",
    "resumes_as_client",
    "tells_its_address",
    "tries_and_fails",
    "waits_in_the_queue",
]


def _ask(connection: Connection, word: str = "hello") -> str:
    """Send a word, return the echo."""
    connection.send(word.encode())
    return connection.receive(len(word)).decode()


def _end(connection: Connection) -> str:
    connection.finish_sending()
    connection.receive_all()
    return connection.end


def tells_its_address(stage: Stage, family: int = socket.AF_INET) -> dict[str, Any]:
    """Connect, tell the own address, and talk."""
    with stage.connect(stage.hear(), family=family) as connection:
        stage.say(connection.raw.getsockname())
        return {"echo": _ask(connection), "end": _end(connection)}


def connects_from_ipv6(stage: Stage) -> dict[str, Any]:
    """The same over IPv6."""
    return tells_its_address(stage, socket.AF_INET6)


def connects_one_by_one(stage: Stage, count: int) -> dict[str, Any]:
    """One connection after the other, each with a word."""
    port = stage.hear()
    echoes, ends = [], []
    for number in range(count):
        with stage.connect(port) as connection:
            echoes.append(_ask(connection, str(number)))
            ends.append(_end(connection))
    return {"echoes": echoes, "ends": sorted(set(ends))}


def lets_the_program_end_first(stage: Stage) -> dict[str, Any]:
    """Say a word, and wait for the program's end."""
    with stage.connect(stage.hear()) as connection:
        echo = _ask(connection, "1")
        connection.receive_all()
        assert socket.socket.recv(connection.raw, 1) == b""  # after close_notify there is a FIN, and it came first
        connection.finish_sending()
        return {"echo": echo, "end": connection.end}


def connects_all_at_once(stage: Stage, count: int) -> dict[str, Any]:
    """Many connections at the same time."""
    port = stage.hear()
    echoes: list[str] = []

    def one(number: int) -> None:
        with stage.connect(port) as connection:
            echoes.append(_ask(connection, str(number)))
            _end(connection)

    _side_by_side([lambda number=number: one(number) for number in range(count)])  # type: ignore[misc]
    return {"echoes": sorted(map(int, echoes)) == list(range(count))}


def _side_by_side(acts: list[Callable[[], None]]) -> None:
    failures: list[BaseException] = []

    def guarded(act: Callable[[], None]) -> None:
        try:
            act()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def connects_when_told(stage: Stage, count: int = 1) -> dict[str, Any]:
    """Connect each time the program tells a port."""
    echoes = []
    for _ in range(count):
        with stage.connect(stage.hear()) as connection:
            echoes.append(_ask(connection))
            _end(connection)
    return {"echoes": echoes}


def interrupts_an_accept(stage: Stage) -> dict[str, Any]:
    """Send the program a SIGINT when it waits in accept, then connect; twice."""
    echoes = []
    for _ in range(2):
        program = stage.hear()
        stage.heard_within(0.2)  # it waits by now
        os.kill(program, signal.SIGINT)
        with stage.connect(stage.hear()) as connection:
            echoes.append(_ask(connection))
            _end(connection)
    return {"echoes": echoes}


def waits_in_the_queue(stage: Stage, count: int) -> dict[str, Any]:
    """Finish many handshakes and speak, all before the program accepts anybody."""
    port = stage.hear()
    connections = [stage.connect(port) for _ in range(count)]
    for number, connection in enumerate(connections):
        connection.send(str(number).encode())
        connection.finish_sending()
    stage.say()
    echoes = []
    for connection in connections:
        with connection:
            echoes.append(connection.receive_all().decode())
    return {"echoes": echoes == [str(number) for number in range(count)]}


def connects_and_leaves(stage: Stage) -> dict[str, Any]:
    """Send a word and end before the program has accepted."""
    with stage.connect(stage.hear()) as connection:
        connection.send(b"was here")
        connection.finish_sending()
        stage.say()
        connection.receive_all()
        return {"end": connection.end}


def connects_to_a_closed_port(stage: Stage) -> dict[str, Any]:
    """Look whether anybody listens at the ports that the program tells; an empty one ends it."""
    words = []
    while port := stage.hear():
        try:
            stage.connect_raw(port).close()
            words.append("open")
        except ConnectionRefusedError:
            words.append("refused")
        stage.say()
    return {"ports": words}


def keeps_a_connection(stage: Stage) -> dict[str, Any]:
    """Talk while the program does something to its listener."""
    with stage.connect(stage.hear()) as connection:
        first = _ask(connection)
        stage.say()
        stage.hear()
        return {"echoes": [first, _ask(connection)], "end": _end(connection)}


def connects_after_the_bad_ones(stage: Stage) -> dict[str, Any]:
    """Peers that must not get through, beside one that must: none of them makes the listener readable, or late."""
    port = stage.hear()
    stalled = stage.connect_raw(port)
    half = stage.connect_raw(port)
    half.sendall(b"\x16\x03\x01\x02")  # the beginning of a ClientHello
    plain = stage.connect_raw(port)
    plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(OSError):
        while plain.recv(4096):
            pass  # until the server has refused it
    gone = stage.connect_raw(port)
    gone.close()
    refused = _refusal(lambda: stage.connect(port, stage.client_context(anchors="stranger.ca.pem")))
    anonymous = _refusal(lambda: stage.connect(port))
    stranger = _refusal(lambda: stage.connect(port, stage.client_context("untrusted-client")))
    stage.say()  # all of them have been there
    stage.hear()
    with stage.connect(port, stage.client_context("client")) as connection:
        stage.say()
        echo, still_waits = _ask(connection), quiet(stalled, 0)
        end = _end(connection)
    return {
        "echo": echo,
        "end": end,
        "distrusts the server": refused,
        "without certificate": anonymous,
        "untrusted certificate": stranger,
        "stalled one still waits": still_waits,
    }


def _refusal(connect: Callable[[], Connection], words: int = 1) -> bool:
    """Say whether the server, or this client, has ended a connection before a word was answered."""
    try:
        with connect() as connection:  # under TLS 1.3 the client believes in it until it reads
            connection.send(b"x" * words)
            return not connection.receive(1)
    except (ssl.SSLError, ConnectionError):
        return True


def presents(stage: Stage, certificate: str | None) -> dict[str, Any]:
    """Present a certificate, or none, to a server that asks for one."""
    context = stage.client_context(certificate)
    with stage.connect(stage.hear(), context) as connection:
        return {"echo": _ask(connection), "end": _end(connection)}


def tries_and_fails(stage: Stage, certificate: str | None = None, alpn: tuple[str, ...] = ()) -> dict[str, Any]:
    """Be refused; then be let in with a good certificate."""
    port = stage.hear()
    refused = _refusal(lambda: stage.connect(port, stage.client_context(certificate, alpn=alpn)))
    with stage.connect(port, stage.client_context("client")) as connection:
        return {"refused": refused, "echo": _ask(connection), "end": _end(connection)}


def asks_for_names(stage: Stage, names: tuple[str | None, ...] = (NAME, OTHER_NAME, WILD_NAME)) -> dict[str, Any]:
    """Connect with each server name; say whose certificate is shown."""
    port = stage.hear()
    shown = []
    for name in names:
        context = stage.client_context()
        if name is None:
            context.check_hostname = False
        with stage.secure_client(stage.connect_raw(port), context, name=name) as connection:
            certificate: Any = connection.secured.getpeercert()
            shown.append(next(value for kind, value in certificate["subjectAltName"] if kind == "DNS"))
            _ask(connection)
            _end(connection)
    return {"shown": shown}


def asks_for_a_stranger(stage: Stage) -> dict[str, Any]:
    """Ask for a name that the server has a certificate for, and does not answer to; then for the right one."""
    port = stage.hear()
    refused = _refusal(lambda: stage.connect(port, name=OTHER_NAME))
    with stage.connect(port) as connection:
        return {"refused": refused, "echo": _ask(connection), "end": _end(connection)}


def prefers_ecdsa_or_rsa(stage: Stage) -> dict[str, Any]:
    """Under TLS 1.2 a client may know only one of the two kinds."""
    port = stage.hear()
    kinds = []
    for kind in ("ECDSA", "RSA"):
        context = stage.client_context()
        context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
        with stage.connect(port, context) as connection:
            cipher = connection.secured.cipher()
            assert cipher is not None
            kinds.append(cipher[0])
            _ask(connection)
            _end(connection)
    return {"ciphers": kinds}


def asks_with_alpn(stage: Stage, names: tuple[str, ...]) -> dict[str, Any]:
    """Offer protocols."""
    port = stage.hear()
    try:
        with stage.connect(port, stage.client_context(alpn=names)) as connection:
            selected = connection.secured.selected_alpn_protocol()
            _ask(connection)
            _end(connection)
            return {"selected": selected}
    except ssl.SSLError as error:
        return {"selected": None, "refused": (error.reason or "").lower().replace("_", " ")}


def asks_with_versions(stage: Stage) -> dict[str, Any]:
    """Connect with TLS 1.2 only and with 1.3 only; say what comes of each."""
    port = stage.hear()
    found = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = stage.files.client_context()
        context.minimum_version = context.maximum_version = version
        try:
            with stage.connect(port, context) as connection:
                found.append(connection.secured.version())
                _ask(connection)
                _end(connection)
        except (ssl.SSLError, ConnectionError):
            found.append("refused")
    return {"versions": found}


def resumes_as_client(stage: Stage, count: int) -> dict[str, Any]:
    """Connect again and again with the session of the connection before."""
    port, context = stage.hear(), stage.client_context()
    session, resumed = None, []
    for _ in range(count):
        with stage.connect(port, context, session=session) as connection:
            _ask(connection)
            session = connection.secured.session
            resumed.append(bool(connection.secured.session_reused))
            _end(connection)
    return {"resumed": resumed}
