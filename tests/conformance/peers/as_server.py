"""Peers of programs that connect."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import threading
from typing import Any

from tests.conformance.stage import Stage

__all__ = [
    "answers_http",
    "asks_for_a_certificate",
    "echoes",
    "echoes_again_and_again",
    "echoes_and_tells_the_address",
    "echoes_from_ipv6",
    "echoes_if_anybody_comes",
    "echoes_or_refuses",
    "echoes_side_by_side",
    "echoes_with",
    "ends_at_once",
    "holds_back",
    "insists_on_a_certificate",
    "interrupts_a_connect",
    "misbehaves",
    "misbehaves_after_a_session",
    "never_answers",
    "resumes",
    "resumes_until_told",
    "says_what_it_negotiated",
    "withholds_the_handshake",
]


def echoes(stage: Stage) -> dict[str, Any]:
    """Echo on one connection."""
    with stage.meet() as connection:
        connection.echo()
        return {"end": connection.end}


def echoes_again_and_again(stage: Stage, count: int) -> dict[str, Any]:
    """Echo on one connection after the other."""
    ends = []
    for _ in range(count):
        with stage.accept() as connection:
            connection.echo()
            ends.append(connection.end)
    return {"connections": len(ends), "ends": sorted(set(ends))}


def echoes_and_tells_the_address(stage: Stage) -> None:
    """Tell the program from where it came."""
    with stage.accept() as connection:
        stage.say(connection.raw.getpeername())
        connection.echo()


def echoes_from_ipv6(stage: Stage) -> None:
    """The same, over IPv6."""
    with stage.accept(socket.AF_INET6) as connection:
        stage.say(connection.raw.getpeername())
        connection.echo()


def echoes_with(stage: Stage, certificate: str, alpn: tuple[str, ...] = ()) -> dict[str, Any]:
    """Echo with another certificate, or with a choice of protocols."""
    with stage.accept(context=stage.server_context(certificate, alpn=alpn)) as connection:
        selected = connection.secured.selected_alpn_protocol()
        connection.echo()
    return {"alpn": selected}


def echoes_side_by_side(stage: Stage, count: int) -> None:
    """Echo on many connections at the same time."""
    threads = [threading.Thread(target=_echo_on, args=(stage, stage.accept_raw())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _echo_on(stage: Stage, raw: socket.socket) -> None:
    with stage.secure(raw) as connection:
        connection.echo()


def echoes_if_anybody_comes(stage: Stage) -> None:
    """Echo, unless the program says first that it has tried."""
    if not stage.heard_within(0.5) or not stage.tls:
        echoes(stage)


def answers_http(stage: Stage) -> None:
    """Answer one request, and end."""
    with stage.meet() as connection:
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.receive_some()
        connection.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nhello")
        connection.finish_sending()
        connection.receive_all()


def misbehaves_after_a_session(stage: Stage) -> dict[str, Any]:
    """Serve one connection, and take another one from a client that must not trust us."""
    with stage.accept() as connection:
        connection.echo()
    heard = b""
    with contextlib.suppress(OSError), stage.accept() as connection:
        heard = connection.receive_all()
    return {"application data": len(heard)}


def ends_at_once(stage: Stage) -> None:
    """Say one word and end in order."""
    with stage.meet() as connection:
        connection.send(b"bye")
        connection.finish_sending()
        connection.receive_all()


def echoes_or_refuses(stage: Stage) -> None:
    """Echo, when the handshake succeeds at all."""
    with contextlib.suppress(ssl.SSLError, ConnectionError), stage.accept() as connection:
        connection.echo()


def asks_for_a_certificate(stage: Stage) -> dict[str, Any]:
    """Ask for a certificate, and say whose it is."""
    with stage.accept(context=_asking(stage)) as connection:
        certificate: Any = connection.secured.getpeercert()
        connection.echo()
        names = dict(pair for group in certificate["subject"] for pair in group)
        return {"subject": names["commonName"], "end": connection.end}


def insists_on_a_certificate(stage: Stage) -> dict[str, Any]:
    """Refuse a peer without certificate."""
    try:
        with stage.accept(context=_asking(stage)) as connection:
            connection.receive_all()
    except (ssl.SSLError, ConnectionError):
        return {"refused": True}
    return {"refused": False}


def _asking(stage: Stage) -> ssl.SSLContext:
    context = stage.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(stage.files.path / "ca.pem")
    return context


def misbehaves(stage: Stage, how: str, then: bool) -> dict[str, Any]:
    """Fail one connection in some way, and take no application data on it; ``then`` serve another one honestly."""
    raw = stage.accept_raw()
    heard = b""
    with contextlib.suppress(OSError):
        match how:
            case "plain text":
                raw.recv(4096)
                raw.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
                while raw.recv(4096):
                    pass
            case "silence":
                raw.recv(4096)
            case "old version":
                old = stage.files.server_context()
                old.set_ciphers("ALL:@SECLEVEL=0")
                _only_tls_1_1(old)
                heard = stage.secure(raw, old).receive_all()
            case _:
                heard = stage.secure(raw, stage.server_context(how)).receive_all()
    raw.close()
    if then:
        with stage.accept() as connection:
            connection.echo()
    return {"application data": len(heard)}


def _only_tls_1_1(context: ssl.SSLContext) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1


def holds_back(stage: Stage) -> dict[str, Any]:
    """Let no connect succeed before the program has looked: by an unfinished handshake, or by a full backlog."""
    if stage.tls:
        stage.say()
        raw = stage.accept_raw()
        stage.hear()
        connection = stage.secure(raw)
    else:
        stage.fill_backlog()
        stage.say()
        stage.hear()
        stage.accept_raw().close()
        stage.listen_again(16)
        connection = stage.accept()
    with connection:
        connection.echo()
        return {"end": connection.end}


def withholds_the_handshake(stage: Stage) -> dict[str, Any]:
    """See that a blocking connect does not return before the handshake."""
    raw = stage.accept_raw()
    early = stage.heard_within(0.1)
    with stage.secure(raw) as connection:
        stage.hear()
        connection.echo()
    return {"connect returned before the handshake": early}


def interrupts_a_connect(stage: Stage) -> dict[str, Any]:
    """Take the TCP connection, send the program a SIGINT, and wait for the end of the wire."""
    program = stage.hear()
    with stage.accept_raw() as raw, contextlib.suppress(ConnectionResetError):
        os.kill(program, signal.SIGINT)
        while raw.recv(65_536):
            pass
    return {"the wire ended": True}


def never_answers(stage: Stage) -> dict[str, Any]:
    """Take the TCP connection and say nothing until the program has gone."""
    raw = stage.accept_raw()
    with raw, contextlib.suppress(ConnectionResetError):
        while raw.recv(65_536):
            pass
    return {"the wire ended": True}


def resumes(stage: Stage, count: int) -> dict[str, Any]:
    """Echo on several connections, and say which of them were resumed."""
    resumed = []
    for _ in range(count):
        with stage.accept() as connection:
            resumed.append(bool(connection.secured.session_reused))
            connection.echo()
    return {"resumed": resumed}


def resumes_until_told(stage: Stage) -> dict[str, Any]:
    """Echo on the first connection, and on as many as the program announces; tell it which were resumed."""
    with stage.accept() as connection:
        first = bool(connection.secured.session_reused)
        connection.echo()
    while stage.hear():
        with stage.accept() as connection:
            resumed = bool(connection.secured.session_reused)
            connection.echo()
        stage.hear()
        stage.say(resumed)
    return {"first": first}


def says_what_it_negotiated(stage: Stage) -> None:
    """Tell the program the peer's own view of the handshake."""
    with stage.accept() as connection:
        cipher = connection.secured.cipher()
        assert cipher is not None
        stage.say({"cipher": cipher[0], "version": connection.secured.version()})
        connection.echo()
