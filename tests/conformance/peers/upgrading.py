"""Peers that begin in plain TCP and go on with TLS."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from tests.conformance.stage import Stage

__all__ = [
    "asks_for_tls",
    "asks_for_tls_late",
    "says_220_and_echoes",
    "starts_tls",
    "starts_tls_badly",
    "starts_tls_late",
]


def _agree(stage: Stage) -> socket.socket:
    raw = stage.accept_raw()
    raw.sendall(b"220\n")
    assert raw.recv(9, socket.MSG_WAITALL) == b"STARTTLS\n"
    raw.sendall(b"go\n")
    return raw


def starts_tls(stage: Stage) -> dict[str, Any]:
    """Be a server that is asked to start TLS, and echo."""
    raw = _agree(stage)
    before = raw.getpeername()
    with stage.secure(raw) as connection:
        same = connection.raw.getpeername() == before
        connection.echo()
        return {"end": connection.end, "same wire": same}


def starts_tls_late(stage: Stage) -> dict[str, Any]:
    """The same, but the handshake waits for the program to look."""
    raw = _agree(stage)
    stage.hear()
    before = raw.getpeername()
    with stage.secure(raw) as connection:
        same = connection.raw.getpeername() == before
        connection.echo()
        return {"end": connection.end, "same wire": same}


def starts_tls_badly(stage: Stage, how: str) -> dict[str, Any]:
    """Present another certificate, or go on in plain text; take whatever application data comes."""
    raw = _agree(stage)
    heard = b""
    with contextlib.suppress(OSError):
        if how == "plain text":
            raw.sendall(b"500 what?\n")
            while raw.recv(65_536):
                pass
        else:
            heard = stage.secure(raw, stage.server_context(how)).receive_all()
    raw.close()
    return {"application data": len(heard)}


def says_220_and_echoes(stage: Stage) -> None:
    """Speak no TLS at all."""
    with stage.accept_raw() as raw:
        raw.sendall(b"220\n")
        with contextlib.suppress(ConnectionError):
            while piece := raw.recv(4096):
                raw.sendall(piece)


def asks_for_tls_late(stage: Stage) -> dict[str, Any]:
    """Be a client that asks to start TLS, and waits for the program to look before it shakes hands."""
    return asks_for_tls(stage, late=True)


def asks_for_tls(stage: Stage, *, late: bool = False) -> dict[str, Any]:
    """Be a client that asks to start TLS."""
    raw = stage.connect_raw(stage.hear())
    assert raw.recv(4, socket.MSG_WAITALL) == b"220\n"
    raw.sendall(b"STARTTLS\n")
    assert raw.recv(3, socket.MSG_WAITALL) == b"go\n"
    if late:
        stage.hear()
    with stage.secure_client(raw) as connection:
        connection.send(b"hello")
        echo = connection.receive(5).decode()
        connection.finish_sending()
        connection.receive_all()
        return {"echo": echo, "end": connection.end}
