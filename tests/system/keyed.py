"""Servers whose certificate and key are the policy's.

``python -m tests.system.keyed FD``, like ``tests.system.zygote``: each request asks for one function of this module.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system import zygote
from tests.system.programs import ERROR, TLS, code, string

if TYPE_CHECKING:
    from tests.system.zygote import Talk

CHAIN, KEY = 88, 89
NOBODY = 65_534


def _give_up_root() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def nothing(_talk: Talk) -> None:
    """Start and end."""


def set_values(_talk: Talk, values: list[list[str]], directory: str = "") -> list[list[str]]:
    """Each pair of chain and key on a socket of its own, as nobody; the errno of each and the last TLS_ERROR."""
    _give_up_root()
    if directory:
        os.chdir(directory)
    outcomes = []
    for pair in values:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
            row = [
                code(s.setsockopt, TLS, option, value.encode() + b"\0")
                for option, value in zip((CHAIN, KEY), pair, strict=True)
            ]
            outcomes.append([*row, string(s, ERROR)])
    return outcomes


def key_server(talk: Talk, chain: str, key: str, unreadable: list[str]) -> int:
    """As nobody: name a certificate and a key, and serve one peer after each word of the test."""
    _give_up_root()
    for path in unreadable:
        try:
            Path(path).read_bytes()
        except PermissionError:
            continue
        raise AssertionError(f"{path} can be read")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
        if chain:
            s.setsockopt(TLS, CHAIN, chain.encode() + b"\0")
            s.setsockopt(TLS, KEY, key.encode() + b"\0")
        talk.tell("set")
        talk.wait()
        s.bind(("127.0.0.1", 0))
        s.listen()
        talk.tell(s.getsockname()[1])
        served = 0
        while talk.wait() == "serve":
            accepted, _ = s.accept()
            with accepted:
                accepted.sendall(accepted.recv(100))
                talk.tell("served")
                while accepted.recv(100):
                    pass
            served += 1
        assert code(s.getsockopt, TLS, KEY, 1024) == "ENOPROTOOPT"
        return served


if __name__ == "__main__":
    zygote.programs = sys.modules[__name__]
    zygote.main()
