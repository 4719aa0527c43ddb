"""Programs that come in numbers: clients and servers for the tests of leaks, hostile peers and isolation.

``python -m tests.system.crowds FD``, like ``tests.system.zygote``: each request asks for one function of this module.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system import zygote
from tests.system.programs import (
    ANCHORS,
    ERRNO_NAMES,
    ERROR,
    ID,
    TLS,
    code,
    hear_end,
    new,
    receive_exactly,
    so_error,
    string,
)

if TYPE_CHECKING:
    from tests.system.zygote import Talk

CERTIFICATE, KEY, REQUEST_PEER_AUTH = 88, 89, 94
NOBODY = 65_534


def nothing(_talk: Talk) -> None:
    """Start and end."""


# -- clients


def open_and_close(_talk: Talk, count: int) -> int:
    """Sockets that never connect, one after the other."""
    for _ in range(count):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS).close()
    return count


def open_until_refused(_talk: Talk) -> tuple[int, str]:
    """Open sockets until one is refused; return how many there were, and the errno."""
    with contextlib.ExitStack() as held:
        for count in itertools.count():
            try:
                held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS))
            except OSError as error:
                return count, ERRNO_NAMES[error.errno or 0]
    raise AssertionError


def stuck(talk: Talk, port: int, ca: str, count: int) -> None:
    """Connections over which neither side reads what the other has sent, and more is sent than fits anywhere."""
    held = [new(ca) for _ in range(count)]
    for s in held:
        s.connect(("127.0.0.1", port))
        s.setblocking(False)
    while talk.wait():
        for s in held:
            while not code(s.send, bytes(65_536)):
                pass
        talk.tell()
    for s in held:
        s.close()


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


def persist(_talk: Talk, port: int, ca: str, rounds: int, seed: int) -> dict[str, int]:
    """Connect, and have a few words echoed, again and again; count how it went: the errno, and of which call."""
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(rounds):
        doing = "socket"
        try:
            with new(ca) as s:
                doing = "connect"
                s.connect(("127.0.0.1", port))
                for _ in range(3):
                    word = draw.randbytes(draw.randint(1, 20_000))
                    doing = "send"
                    s.sendall(word)
                    doing = "recv"
                    heard = receive_exactly(s, len(word))
                    if heard != word:
                        raise EOFError("cut" if word.startswith(heard) else "wrong")
            counts["ok"] += 1
        except EOFError as error:
            counts[f"{doing} {error}"] += 1
        except OSError as error:
            counts[f"{doing} {ERRNO_NAMES[error.errno or 0]}"] += 1
    return counts


def set_under_a_timer(talk: Talk, ca: str) -> str:
    """Set an option while a signal comes every half millisecond; calls are made again (SA_RESTART)."""
    with new(ca) as s:
        talk.tell()
        talk.wait()
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.siginterrupt(signal.SIGALRM, False)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        talk.tell()
        try:
            return code(s.setsockopt, TLS, ANCHORS, ca.encode() + b"\0")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def verdicts(_talk: Talk, cases: list[dict[str, Any]]) -> list[list[str]]:
    """Connect to each peer; return the errno and the text of each."""
    results = []
    for case in cases:
        with new(case["anchors"], case["name"]) as s:
            address = ("127.0.0.1", case["port"])
            results.append([code(s.connect, address), string(s, ERROR)])
    return results


def judged(talk: Talk, port: int, ca: str, count: int) -> list[list[str]]:
    """So many connections at once; tell how many have come to an end when asked, and the errno and text of each."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(new(ca)) for _ in range(count)]
        poll = select.poll()
        for s in sockets:
            s.setblocking(False)
            assert code(s.connect, ("127.0.0.1", port)) == "EINPROGRESS"
            poll.register(s, select.POLLOUT)
        talk.tell()
        while talk.wait():
            talk.tell(len(poll.poll(0)))
        while len(poll.poll()) < count:
            pass
        return [[so_error(s), string(s, ERROR)] for s in sockets]


# -- servers


def listening(chain: str, key: str, anchors: str | None = None) -> socket.socket:
    """Make a secure listener on a free port; with anchors it asks its clients for certificates."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS)
    s.setsockopt(TLS, CERTIFICATE, chain.encode() + b"\0")
    s.setsockopt(TLS, KEY, key.encode() + b"\0")
    if anchors is not None:
        s.setsockopt(TLS, ANCHORS, anchors.encode() + b"\0")
        s.setsockopt(TLS, REQUEST_PEER_AUTH, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(128)
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
        try:
            talk.wait()
        finally:  # also when the test has gone: nobody shall poll what is about to be closed
            done.set()
            accepting.join()
        for thread in threads:
            thread.join()
    return heard


def admit(talk: Talk, chain: str, key: str, anchors: list[str]) -> int:
    """Listen once for each file of anchors, asking clients for certificates; greet whoever is let through."""
    listeners = {}
    poll = select.poll()
    for path in anchors:
        s = listening(chain, key, anchors=path)
        listeners[s.fileno()] = s
        poll.register(s, select.POLLIN)
    talk.tell([s.getsockname()[1] for s in listeners.values()])
    done = threading.Event()
    threading.Thread(target=lambda: (talk.wait(), done.set())).start()
    admitted = 0
    while not done.is_set():
        for descriptor, _ in poll.poll(20):
            accepted, _ = listeners[descriptor].accept()
            with accepted:
                accepted.sendall(b"welcome")
            admitted += 1
    for s in listeners.values():
        s.close()
    return admitted


def until_one_is_cut(talk: Talk, chain: str, key: str, anchors: str) -> list[Any]:
    """Accept two clients that show certificates; wait until the first is cut, then answer the second."""
    with listening(chain, key, anchors) as s:
        talk.tell(s.getsockname()[1])
        first, second = s.accept()[0], s.accept()[0]
        with first, second:
            talk.tell()
            talk.wait()
            ended = [hear_end(first), string(first, ERROR)]
            second.sendall(second.recv(100))
            return ended


# -- somebody else


def _become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def as_nobody(call: Callable[[], Any]) -> Any:
    """Return what ``call`` gives in a child that is another user."""
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            _become_nobody()
            os.write(write, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        result = pipe.read()
    os.wait()
    return json.loads(result)


def reach(_talk: Talk, paths: list[str]) -> dict[str, list[str]]:
    """Try to connect to unix sockets as another user."""

    def attempt(path: str, kind: socket.SocketKind) -> str:
        with socket.socket(socket.AF_UNIX, kind) as s:
            return code(s.connect, path)

    kinds = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    found: dict[str, list[str]] = as_nobody(lambda: {path: [attempt(path, kind) for kind in kinds] for path in paths})
    return found


def set_files(_talk: Talk, values: list[list[Any]], nobody: bool) -> list[list[str]]:
    """Set options by path, as another user or not; return errno and text of each."""

    def attempt(option: int, path: str) -> list[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
            return [code(s.setsockopt, TLS, option, path.encode() + b"\0"), string(s, ERROR)]

    def attempts() -> list[list[str]]:
        return [attempt(option, path) for option, path in values]

    found: list[list[str]] = as_nobody(attempts) if nobody else attempts()
    return found


# -- system calls with any arguments


def random_calls(_talk: Talk, seed: int, count: int, ports: list[int], chain: str, key: str, wild: bool) -> list[str]:
    """Make calls on all kinds of sockets with arguments of all kinds; return the errnos that they gave.

    No socket blocks.  ``wild``: with pointers to nowhere as well.
    """
    dice = random.Random(seed)
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(1 << 19)  # larger than any value that can be given
    held: list[int] = []
    met = set()

    def open_one() -> int:
        family = dice.choice([socket.AF_INET, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 0, -1, 715])
        kind = dice.choice([socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM, 99]) | socket.SOCK_NONBLOCK
        opened: int = libc.socket(family, kind, dice.choice([TLS, TLS, TLS, 0, 6, -1]))
        if opened >= 0:
            held.append(opened)
            if dice.random() < 0.5:
                for option, path in ((CERTIFICATE, chain), (KEY, key)):
                    libc.setsockopt(opened, TLS, option, path.encode(), len(path) + 1)
        return opened

    def number() -> int:
        small = dice.randrange(-2, 256)
        return dice.choice([0, 1, 2, 4, 8, 16, 28, 259, small, small, -(2**31), 2**31 - 1, TLS, 6])

    def pointer(content: bytes) -> Any:
        if wild and dice.random() < 0.1:
            return ctypes.c_void_p(dice.choice([0, 8, 2**63, 2**64 - 1]))
        return ctypes.create_string_buffer(content + bytes(600))

    def value() -> bytes:
        known = [
            b"server.ssa.test\0",
            b"/dev/null\0",
            b"/\0",
            chain.encode() + b"\0",
            b"-----BEGIN ",
            struct.pack("i", 1),
        ]
        return dice.choice([*known, dice.randbytes(dice.randrange(40))])

    def address() -> bytes:
        family = dice.choice(
            [socket.AF_INET, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 715, dice.randrange(65_536)]
        )
        port = dice.choice([*ports, 0, 1])
        host = dice.choice([socket.inet_aton("127.0.0.1"), b"localhost\0", bytes(16), dice.randbytes(255)])
        return struct.pack("=H", family) + struct.pack("!H", port) + host

    def length() -> Any:
        return pointer(struct.pack("i", dice.choice([0, 1, 4, 16, 1024, 1 << 18, -1, -(2**31)])))

    def one(descriptor: int) -> int:
        level, option = dice.choice([TLS, TLS, 1, 6, number()]), dice.choice([*range(85, 124), TLS, number()])
        option_length, address_length = dice.choice([4, 8, 16, number()]), dice.choice([16, 28, 259, number()])
        calls: list[Callable[[], int]] = [
            open_one,
            lambda: libc.setsockopt(descriptor, level, option, pointer(value()), min(option_length, 512)),
            lambda: libc.getsockopt(descriptor, level, option, room, length()),
            lambda: libc.connect(descriptor, pointer(address()), min(address_length, 512)),
            lambda: libc.bind(descriptor, pointer(address()), min(address_length, 512)),
            lambda: libc.listen(descriptor, number()),
            lambda: libc.accept4(descriptor, room, length(), socket.SOCK_NONBLOCK | dice.choice([0, 0, 7])),
            lambda: libc.getsockname(descriptor, room, length()),
            lambda: libc.getpeername(descriptor, room, length()),
            lambda: libc.send(descriptor, room, 10, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL),
            lambda: libc.recv(descriptor, room, 10, socket.MSG_DONTWAIT),
            lambda: libc.shutdown(descriptor, dice.randrange(-1, 4)),
            lambda: libc.dup(descriptor),
            lambda: libc.close(held.pop(dice.randrange(len(held)))) if held else 0,
        ]
        weights = [3, 5, 4, 3, 2, 2, 2, 2, 2, 1, 1, 1, 1, 2 if len(held) > 6 else 0]
        (call,) = dice.choices(calls, weights)
        result = call()
        if call in {calls[6], calls[12]} and result >= 0:
            held.append(result)
        return result

    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)  # where sockets of any name may be bound
        for _ in range(count):
            if one(dice.choice([*held, -1, 10_000]) if held else open_one()) < 0:
                met.add(ERRNO_NAMES[ctypes.get_errno()])
    for descriptor in held:
        os.close(descriptor)
    return sorted(met)


# -- the control channel, by hand


_HEADER = struct.Struct("<IHHii")
_HELLO, _SET_OPTION, _GET_OPTION, _CLAIM = 1, 2, 3, 13


def ask(channel: socket.socket, kind: int, *fields: int, value: bytes = b"", fds: Sequence[int] = ()) -> list[Any]:
    """Send one request; return errno and value of the reply, or that the daemon hung up."""
    first, second = (*fields, 0, 0)[:2]
    socket.send_fds(channel, [_HEADER.pack(7, kind, 0, first, second) + value], list(fds))
    try:
        reply = channel.recv(4096)
    except ConnectionResetError:
        reply = b""
    if not reply:
        return ["hung up", ""]
    return [ERRNO_NAMES.get(_HEADER.unpack_from(reply)[3], ""), reply[_HEADER.size :].hex()]


def dial(path: str) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.settimeout(30)
    channel.connect(path)
    return channel


def claims(_talk: Talk, path: str, contexts: int) -> dict[str, Any]:
    """Claim a secure socket with its descriptor, as its owner and as another user; then with all that is none."""

    def claim(*descriptors: int) -> str:
        with dial(path) as channel:
            code_of: str = ask(channel, _CLAIM, fds=descriptors)[0]
            return code_of

    def take_context() -> str:
        with dial(path) as channel:
            assert ask(channel, _HELLO, socket.AF_INET, os.getpid()) == ["", ""]
            code_of: str = ask(channel, _SET_OPTION, TLS, 107, value=bytes.fromhex(handle))[0]
            return code_of

    def open_another() -> str:
        """Open a socket of one's own, and say that its descriptor is the application's."""
        with dial(path) as channel:
            code_of: str = ask(channel, _HELLO, socket.AF_INET, os.getpid(), fds=[application.fileno()])[0]
            return code_of

    left, right = socket.socketpair()
    with dial(path) as channel, left, right, socket.socket(socket.AF_UNIX) as application:
        assert ask(channel, _HELLO, socket.AF_INET, os.getpid(), fds=[application.fileno()]) == ["", ""]
        handle = ask(channel, _GET_OPTION, TLS, 107, value=struct.pack("<I", 8))[1]
        pipe = os.pipe()
        with Path("/dev/null").open("rb") as null, socket.socket() as tcp, dial(path) as control:
            results = {
                "its owner": claim(application.fileno()),
                "its owner, through a copy": claim(os.dup(application.fileno())),
                "somebody else": as_nobody(lambda: claim(application.fileno())),
                "a socket of nobody's": claim(left.fileno()),
                "a TCP socket": claim(tcp.fileno()),
                "a control channel": claim(control.fileno()),
                "a pipe": claim(pipe[0]),
                "a device": claim(null.fileno()),
                "nothing": claim(),
                "two": claim(application.fileno(), application.fileno()),
                "its owner's context": [take_context() for _ in range(contexts)],
                "somebody else's context": as_nobody(lambda: [take_context() for _ in range(contexts)]),
                "somebody else's socket": as_nobody(lambda: [open_another() for _ in range(contexts)]),
                "its owner, still": claim(application.fileno()),
            }
    return results


def bind_low(_talk: Talk, port: int) -> dict[str, str]:
    """Bind to a port below 1024, as root and as another user, who may also be root of a namespace of its own."""

    def bind() -> str:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, TLS) as s:
            return code(s.bind, ("127.0.0.1", port))

    def bind_in_a_namespace() -> str:
        ctypes.CDLL(None).unshare(0x10000000)  # CLONE_NEWUSER; where that is forbidden, it is another user all the same
        return bind()

    return {"root": bind(), "nobody": as_nobody(bind), "nobody, in a namespace": as_nobody(bind_in_a_namespace)}


if __name__ == "__main__":
    zygote.programs = sys.modules[__name__]  # type: ignore[attr-defined]
    zygote.main()
