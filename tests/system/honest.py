"""A listening program and the honest clients that it serves, whatever else goes on."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl

from tests.certificates import authority
from tests.system.daemons import Program


def dial(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def client_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority().anchors_pem.decode())
    context.check_hostname = False
    return context


class Listener:
    """A program that serves whoever is let through to it."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.port: int = program.hear()
        self._words = map(str, itertools.count(1))
        self._served: list[list[str]] = []

    def serves_an_honest_client(self) -> None:
        """A client that does nothing wrong gets its answer, however many others there are."""
        word = f"honest {next(self._words)}"
        with client_context().wrap_socket(dial(self.port)) as client:
            client.sendall(word.encode())
            assert client.recv(100) == word.encode()
            with contextlib.suppress(ssl.SSLZeroReturnError):
                client.unwrap()
        self._served.append([word, ""])

    def heard(self) -> list[list[str]]:
        """End it; return what it heard from others than honest clients, with the errno of each end."""
        self._program.say()
        others: list[list[str]] = self._program.result()
        for word in self._served:
            others.remove(word)
        return others

    def dial(self) -> socket.socket:
        """Connect to it without TLS."""
        return dial(self.port)
