"""Descriptors under other numbers and in other processes."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import behaviour, in_both_roles
from tests.conformance.world import (
    ANCHORS,
    CIPHER,
    ID,
    NAME,
    PATIENCE_MS,
    REMOTE_HOSTNAME,
    TLS,
    World,
    in_child,
    outcome,
    path,
    receive,
    run_python,
    string,
    talk,
    text,
)

DESCRIPTORS = "2 dup, fork, exec, SCM_RIGHTS"


def knows(s: socket.socket, world: World) -> str:
    """Make control calls through a descriptor; return what both TCP and TLS can say."""
    host = s.getpeername()[0]
    if world.tls:
        assert string(s, CIPHER)
    return f"{host} {s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)}"


KNOWN = "127.0.0.1 0"


@in_both_roles(
    "descriptors.dup",
    "A copy made by dup, dup2 or F_DUPFD is the same socket, for data and for options.",
    DESCRIPTORS,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def dup(world: World) -> Iterator[tuple[Any, ...]]:
    s = world.connected()
    numbers = [os.dup(s.fileno()), os.dup2(s.fileno(), 200), fcntl.fcntl(s, fcntl.F_DUPFD_CLOEXEC, 300)]
    s.close()
    for how, number in zip(("dup", "dup2", "F_DUPFD"), numbers, strict=True):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, world.protocol, fileno=number) as copy:
            yield how, [knows(copy, world), talk(copy)], [KNOWN, "hello"]


@behaviour(
    "descriptors.dup-before-connect",
    "A copy made before connect can be configured and connected, when the first descriptor is closed.",
    DESCRIPTORS,
    peer="echoes",
    plain=True,
)
def dup_before_connect(world: World) -> Iterator[tuple[Any, ...]]:
    first = world.bare()
    s = first.dup()
    first.close()
    with s:
        if world.tls:
            s.setsockopt(TLS, ANCHORS, path(world.file("ca.pem")))
            s.setsockopt(TLS, REMOTE_HOSTNAME, text(NAME))
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


@behaviour(
    "descriptors.reused-number",
    "A descriptor number that is reused by something else is that something else.",
    DESCRIPTORS,
    peer="echoes",
    plain=True,
)
def reused_number(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        number = s.fileno()
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        yield "same number", tcp.fileno() == number, True
        yield "protocol", tcp.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL), socket.IPPROTO_TCP
        yield "connect", outcome(tcp.connect, world.nowhere), "ECONNREFUSED"
    with world.client() as s:
        yield "same number again", s.fileno() == number, True
        yield "connect again", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


@in_both_roles(
    "descriptors.fork",
    "A forked child talks and asks on its copy, then the parent goes on with its own.",
    DESCRIPTORS,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def fork(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "child", in_child(lambda: f"{knows(s, world)} {talk(s, 'child')}"), f"{KNOWN} child"
        yield (
            "grandchild",
            in_child(lambda: in_child(lambda: f"{knows(s, world)} {talk(s, 'small')}")),
            f"{KNOWN} small",
        )
        yield "parent", [knows(s, world), talk(s)], [KNOWN, "hello"]


@behaviour(
    "descriptors.fork-before-connect",
    "A child may connect what its parent has configured, and the parent then uses it.",
    DESCRIPTORS,
    peer="echoes",
    plain=True,
)
def fork_before_connect(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect in a child", in_child(lambda: outcome(s.connect, world.peer)), "ok"
        yield "in the parent", [knows(s, world), talk(s)], [KNOWN, "hello"]
        yield "connect again", outcome(s.connect, world.peer), "EISCONN"


_EXECUTED = """
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
s.sendall(b"exec")
print(s.recv(4).decode(), s.getpeername()[0], s.family.name, s.type.name, s.proto == int(sys.argv[2]))
"""


@in_both_roles(
    "descriptors.exec",
    "A program that inherits the descriptor by exec finds a socket of its family, type and protocol, and talks.",
    DESCRIPTORS,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def executed(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        ran = run_python(_EXECUTED, s.fileno(), world.protocol, keep=(s.fileno(),))
        yield "executed", ran, "exec 127.0.0.1 AF_INET SOCK_STREAM True"
        yield "afterwards", talk(s), "hello"


_CONNECTING = """
import socket, sys
s = socket.socket(fileno=int(sys.argv[1]))
s.connect((sys.argv[2], int(sys.argv[3])))
s.sendall(b"exec")
print(s.recv(4).decode(), s.getpeername()[0])
"""


@behaviour(
    "descriptors.exec-before-connect",
    "A program that inherits a configured descriptor may connect it.",
    DESCRIPTORS,
    peer="echoes",
    plain=True,
)
def exec_before_connect(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        ran = run_python(_CONNECTING, s.fileno(), *world.peer, keep=(s.fileno(),))
        yield "executed", ran, "exec 127.0.0.1"


@behaviour(
    "descriptors.close-on-exec",
    "SOCK_CLOEXEC and SOCK_NONBLOCK of socket() are the descriptor's flags.",
    "2 socket",
    plain=True,
)
def close_on_exec(world: World) -> Iterator[tuple[Any, ...]]:
    for word, flags in (
        ("none", 0),
        ("SOCK_CLOEXEC", socket.SOCK_CLOEXEC),
        ("SOCK_NONBLOCK", socket.SOCK_NONBLOCK),
        ("both", socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK),
    ):
        number = calls_socket(world, flags)
        seen = [bool(fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC), not os.get_blocking(number)]
        yield word, seen, [bool(flags & socket.SOCK_CLOEXEC), bool(flags & socket.SOCK_NONBLOCK)]
        os.close(number)


def calls_socket(world: World, flags: int) -> int:
    """Call socket(2) itself: Python's library adds a flag."""
    from tests.conformance import calls

    return calls.socket_(socket.AF_INET, socket.SOCK_STREAM | flags, world.protocol)


@in_both_roles(
    "descriptors.passed",
    "A descriptor passed by SCM_RIGHTS works in the process that receives it, when the sender has closed its own.",
    DESCRIPTORS,
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def passed(world: World) -> Iterator[tuple[Any, ...]]:
    left, right = socket.socketpair()
    s = world.connected()

    def receiver() -> str:
        right.close()
        s.close()
        left.recv(1)  # the sender has closed its copy by now
        _, descriptors, _, _ = socket.recv_fds(left, 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, world.protocol, fileno=descriptors[0]) as mine:
            return f"{knows(mine, world)} {talk(mine)}"

    socket.send_fds(right, [b"-"], [])
    socket.send_fds(right, [b"+"], [s.fileno()])
    yield "receiver", in_child(receiver), f"{KNOWN} hello"
    left.close()
    right.close()
    s.close()


@in_both_roles(
    "descriptors.last-copy",
    "The connection ends with the last copy of its descriptor, and not before.",
    DESCRIPTORS,
    peer="waits_for_the_last_copy",
    seen={"ended early": False, "end": "in order"},
    plain=True,
)
def last_copy(world: World) -> Iterator[tuple[Any, ...]]:
    s = world.connected()
    world.wait()
    copy = s.dup()
    s.close()
    world.tell("one copy is closed")
    world.wait()
    yield "still open", copy.fileno() > 0, True
    copy.close()


@behaviour(
    "descriptors.threads",
    "Many threads of one process make sockets, connect and talk at the same time.",
    DESCRIPTORS,
    peer="echoes_side_by_side",
    peer_arguments={"count": 12},
    plain=True,
)
def threads(world: World) -> Iterator[tuple[Any, ...]]:
    import threading

    words: list[str] = []

    def one(number: int) -> None:
        with world.client() as s:
            s.connect(world.peer)
            words.append(talk(s, str(number)))

    running = [threading.Thread(target=one, args=(number,)) for number in range(12)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    yield "words", sorted(map(int, words)), list(range(12))


@behaviour(
    "descriptors.epoll-in-a-child",
    "An epoll set that a child inherits reports the socket that the parent has registered.",
    DESCRIPTORS,
    peer="echoes",
    plain=True,
)
def epoll_in_a_child(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s, select.epoll() as epoll:
        epoll.register(s, select.EPOLLIN)
        s.sendall(b"hello")
        yield "child", in_child(lambda: f"{len(epoll.poll(PATIENCE_MS / 1000))} {receive(s, 5).decode()}"), "1 hello"


@behaviour(
    "descriptors.id-in-a-child",
    "A child, and a program that it executes, ask the same socket: TLS_ID is the same everywhere.",
    "1 TLS_ID",
    peer="echoes",
)
def id_in_a_child(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        number = struct.unpack("=Q", s.getsockopt(TLS, ID, 8))[0]
        source = "import socket, sys; print(socket.socket(fileno=int(sys.argv[1])).getsockopt(205, 96, 8).hex())"
        yield "child", in_child(lambda: s.getsockopt(TLS, ID, 8).hex()) == struct.pack("=Q", number).hex(), True
        ran = run_python(source, s.fileno(), keep=(s.fileno(),))
        yield "executed", ran == struct.pack("=Q", number).hex(), True
