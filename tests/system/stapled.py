"""Servers that staple, and a client that insists on it.

``python -m tests.system.stapled FD``, like ``tests.system.zygote``: each request asks for one function of this module.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING

from tests.system import zygote
from tests.system.crowds import CERTIFICATE, KEY
from tests.system.programs import ERROR, TLS, code, new, string

if TYPE_CHECKING:
    from tests.system.zygote import Talk

STAPLED_CHECKS, STAPLING = 103, 122
TCP_UPGRADE_TLS = 205


def _equip(s: socket.socket, files: list[str], staple: bool | None) -> None:
    for file in files:
        s.setsockopt(TLS, CERTIFICATE, file.encode() + b"\0")
        s.setsockopt(TLS, KEY, file.encode() + b"\0")
    if staple is not None:
        s.setsockopt(TLS, STAPLING, staple)


def _accept_all(s: socket.socket, talk: Talk) -> None:
    """Let each peer in and go, until the test has seen enough."""

    def accept() -> None:
        while True:
            try:
                accepted, _ = s.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(60)
                code(accepted.recv, 100)

    with s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        talk.tell([s.getsockname()[1], s.getsockopt(TLS, STAPLING)])
        threading.Thread(target=accept, daemon=True).start()
        talk.wait()


def serve(talk: Talk, files: list[str], staple: bool | None) -> None:
    """Serve with certificates (each file has its key as well), and say whether to staple, or say nothing."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    _equip(s, files, staple)
    _accept_all(s, talk)


def serve_upgraded(talk: Talk, file: str) -> None:
    """Serve TCP connections that go on in TLS at once, one for each word of the test."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        talk.tell(listener.getsockname()[1])
        while talk.wait():
            accepted, _ = listener.accept()
            with accepted:
                _equip(accepted, [file], True)
                accepted.setsockopt(socket.IPPROTO_TCP, TCP_UPGRADE_TLS, b"\0")
                accepted.recv(100)


def switch_off(_talk: Talk) -> list[str | int]:
    """Try to do without stapling; return the errno, TLS_ERROR, and what holds."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        refused = code(s.setsockopt, TLS, STAPLING, 0)
        return [refused, string(s, ERROR), s.getsockopt(TLS, STAPLING)]


def insist(_talk: Talk, port: int, ca: str) -> list[str]:
    """Connect to whom the stapled answer says to be good, and to nobody else."""
    with new(ca) as s:
        s.setsockopt(TLS, STAPLED_CHECKS, struct.pack("=i", 1))
        return [code(s.connect, ("127.0.0.1", port)), string(s, ERROR)]


if __name__ == "__main__":
    zygote.programs = sys.modules[__name__]
    zygote.main()
