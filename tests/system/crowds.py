"""Programs that come in numbers: clients and servers for the tests of leaks, hostile peers and isolation.

``python -m tests.system.crowds FD``, like ``tests.system.zygote``: each request asks for one function of this module.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

from tests.system import zygote
from tests.system.programs import ERRNO_NAMES, ERROR, ID, TLS, code, hear_end, new, receive_all, receive_exactly, string

if TYPE_CHECKING:
    from tests.system.zygote import Talk

CERTIFICATE, KEY = 88, 89
NOBODY = 65_534


def nothing(_talk: Talk) -> None:
    """Start and end."""


# -- clients


def open_and_close(_talk: Talk, count: int) -> int:
    """Sockets that never connect, one after the other."""
    for _ in range(count):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS).close()
    return count


def crowd(talk: Talk, ca: str, mute: int, generous: int, count: int) -> None:
    """``count`` connections in each stage, and stay to be killed.

    ``mute`` is the port of a peer that never answers, ``generous`` of one that sends more than anybody reads.
    """
    held = []
    for _ in range(count):
        held.append(new(ca))
        connecting = new(ca)
        connecting.setblocking(False)
        assert code(connecting.connect, ("127.0.0.1", mute)) == "EINPROGRESS"
        waiting = new(ca)
        threading.Thread(target=code, args=(waiting.connect, ("127.0.0.1", mute)), daemon=True).start()
        reading = new(ca)
        reading.connect(("127.0.0.1", generous))
        assert receive_exactly(reading, 1000) == bytes(1000)
        writing = new(ca)
        writing.connect(("127.0.0.1", generous))
        writing.setblocking(False)
        while not code(writing.send, bytes(65_536)):
            pass
        held += [connecting, waiting, reading, writing]
    talk.tell()
    signal.pause()


def try_peer(_talk: Talk, port: int, ca: str) -> dict[str, Any]:
    """Connect, talk, read to the end: what came, every errno, and what TLS_ERROR says."""
    with new(ca) as s:
        result: dict[str, Any] = {"connect": code(s.connect, ("127.0.0.1", port))}
        if not result["connect"]:
            result["send"] = code(s.sendall, b"hello")
            result["heard"] = hear_end(s)
        return {**result, "text": string(s, ERROR)}


def neighbour(talk: Talk, port: int, ca: str) -> int:
    """Have a connection, and prove again and again that it is good; an empty word is the last."""
    count = 0
    with new(ca) as s:
        s.connect(("127.0.0.1", port))
        talk.tell(struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0] >> 48)
        while word := talk.wait():
            s.sendall(word.encode())
            talk.tell(receive_exactly(s, len(word)).decode())
            count += 1
    return count


def verdicts(_talk: Talk, cases: list[dict[str, Any]]) -> list[list[str]]:
    """Connect to each peer; return the errno and the text of each."""
    results = []
    for case in cases:
        with new(case["anchors"], case["name"]) as s:
            address = ("127.0.0.1", case["port"])
            results.append([code(s.connect, address), string(s, ERROR)])
    return results


# -- servers


def listening(chain: str, key: str, backlog: int = 128) -> socket.socket:
    """Make a secure listener on a free port."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    s.setsockopt(TLS, CERTIFICATE, chain.encode() + b"\0")
    s.setsockopt(TLS, KEY, key.encode() + b"\0")
    s.bind(("127.0.0.1", 0))
    s.listen(backlog)
    return s


def listen_only(talk: Talk, chain: str, key: str, close: bool) -> str:
    """Listen and never accept; close when told to, or stay to be killed."""
    s = listening(chain, key)
    talk.tell(s.getsockname()[1])
    readable = select.poll()
    readable.register(s, select.POLLIN)
    talk.wait()
    talk.tell(bool(readable.poll(20_000)))
    if not close:
        signal.pause()
    s.close()
    talk.wait()
    return "closed"


def listen_and_close(_talk: Talk, chain: str, key: str, count: int) -> int:
    """Listeners, one after the other."""
    for _ in range(count):
        listening(chain, key).close()
    return count


def accept_and_stop(talk: Talk, chain: str, key: str, count: int) -> None:
    """Accept ``count`` peers, and stay to be killed."""
    s = listening(chain, key)
    talk.tell(s.getsockname()[1])
    held = [s.accept()[0] for _ in range(count)]
    talk.tell(len(held))
    signal.pause()


def echo_server(talk: Talk, chain: str, key: str) -> list[list[str]]:
    """Send back what each peer says until the test has seen enough; return what each said and its end's errno."""
    heard: list[list[str]] = []
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        said = b""
        with accepted:
            try:
                while piece := accepted.recv(65_536):
                    said += piece
                    accepted.sendall(piece)
            except OSError as error:
                heard.append([said.decode(), ERRNO_NAMES[error.errno or 0]])
            else:
                heard.append([said.decode(), ""])

    with listening(chain, key) as s:
        talk.tell(s.getsockname()[1])
        done = threading.Event()

        def accept() -> None:
            poll = select.poll()
            poll.register(s, select.POLLIN)
            while not done.is_set():
                if poll.poll(20):
                    threads.append(threading.Thread(target=serve, args=(s.accept()[0],)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        talk.wait()
        done.set()
        accepting.join()
        for thread in threads:
            thread.join()
    return heard


# -- somebody else


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def reach(_talk: Talk, paths: list[str]) -> dict[str, str]:
    """As another user, try to connect to unix sockets."""
    _become_nobody()
    results = {}
    for path in paths:
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            with socket.socket(socket.AF_UNIX, kind) as s:
                results[f"{path} {kind.name}"] = code(s.connect, path)
    return results


def set_files(_talk: Talk, values: list[list[Any]]) -> list[list[str]]:
    """As another user, set options by path; return errno and text of each."""
    _become_nobody()
    results = []
    for option, path in values:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
            results.append([code(s.setsockopt, TLS, option, path.encode() + b"\0"), string(s, ERROR)])
    return results


def accept_one(talk: Talk, chain: str, key: str) -> str:
    """Listen, say where, accept one peer, and return what it says."""
    with listening(chain, key) as s:
        talk.tell(s.getsockname()[1])
        talk.wait()
        accepted, _ = s.accept()
        with accepted:
            return receive_all(accepted).decode()


if __name__ == "__main__":
    zygote.programs = sys.modules[__name__]  # type: ignore[attr-defined]
    zygote.main()
