"""A TLS server that does what a test says: stalls, lies, breaks off."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Self

from harness.clients.target import Target
from webservers import Credentials

Handler = Callable[["Peer"], None]


class Peer:
    """One connection, before its handshake."""

    def __init__(self, raw: socket.socket, server: "ScriptedServer") -> None:
        self._raw = raw
        self._server = server
        self._tls: ssl.SSLSocket | None = None

    def speaks(self) -> bool:
        """Whether anything comes: not from one that connects only to see how long that takes."""
        return bool(self._raw.recv(1, socket.MSG_PEEK))

    def handshake(self) -> None:
        self._tls = self._server.context.wrap_socket(self._raw, server_side=True)

    def answer(self, data: bytes) -> None:
        """Handshake, read the request, send this."""
        self.handshake()
        assert self._tls is not None
        self._tls.recv(4096)
        self._tls.sendall(data)

    def stall(self) -> None:
        """Until the test is over."""
        self._server.over.wait()

    def close(self) -> None:
        (self._tls or self._raw).close()


class ScriptedServer:
    def __init__(self, credentials: Credentials, handler: Handler) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(credentials.chain, credentials.key)
        self.over = threading.Event()
        self.connected = threading.Event()  # somebody was
        self._credentials = credentials
        self._handler = handler
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def target(self, size_bytes: int) -> Target:
        name, ca = self._credentials.server_name, str(self._credentials.ca)
        return Target("127.0.0.1", self.port, name, "/f", ca, size_bytes, 65_536)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.connected.set()
            thread = threading.Thread(target=self._serve, args=(raw,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket) -> None:
        peer = Peer(raw, self)
        with contextlib.suppress(OSError):
            self._handler(peer)
        peer.close()
