"""Servers that are killed and started again.

``python -m tests.system.restarting FD``, like ``tests.system.zygote``: each request asks for one function of this
module.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import TYPE_CHECKING

from tests.system import zygote
from tests.system.programs import TLS, code

if TYPE_CHECKING:
    from tests.system.zygote import Talk

CHAIN, KEY = 88, 89
_ACCEPTS = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 205, fileno=int(sys.argv[1]))
while True:
    peer, _ = listener.accept()
    with peer:
        peer.sendall(peer.recv(100))
"""


def _listening(chain: str, key: str, port: int) -> socket.socket:
    with contextlib.ExitStack() as held:
        s = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS))
        s.setsockopt(TLS, CHAIN, chain.encode() + b"\0")
        s.setsockopt(TLS, KEY, key.encode() + b"\0")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does; not SO_REUSEPORT
        s.bind(("127.0.0.1", port))
        s.listen()
        held.pop_all()
    return s


def _serve(listener: socket.socket) -> None:
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(peer.recv(100))


def server(talk: Talk, port: int, **own: str) -> None:
    """Echo one word to each peer, until killed."""
    with _listening(port=port, **own) as listener:
        talk.tell(listener.getsockname()[1])
        _serve(listener)


def server_with_a_child(talk: Talk, **own: str) -> None:
    """The same in a child, which has the listener too."""
    with _listening(port=0, **own) as listener:
        child = os.fork()
        if child == 0:
            _serve(listener)
        talk.tell([listener.getsockname()[1], child])
        talk.wait()


def server_that_becomes_another(talk: Talk, **own: str) -> None:
    """Listen, and let another program in the same process serve."""
    listener = _listening(port=0, **own)
    listener.set_inheritable(True)
    talk.tell(listener.getsockname()[1])
    os.execv(sys.executable, [sys.executable, "-c", _ACCEPTS, str(listener.fileno())])


def try_to_listen(_talk: Talk, **arguments: object) -> str:
    """The errno, "" where it goes well."""
    return code(lambda: _listening(**arguments).close())  # type: ignore[arg-type]


def close_and_listen_again(_talk: Talk, count: int, **own: str) -> str:
    """One process closes its listener and listens at the same port again; the errno, "" where all goes well."""
    port = 0
    for _ in range(count):
        with _listening(port=port, **own) as listener:
            port = listener.getsockname()[1]
    return ""


if __name__ == "__main__":
    zygote.programs = sys.modules[__name__]
    zygote.main()
