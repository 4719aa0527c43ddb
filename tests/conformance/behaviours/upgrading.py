"""TCP_UPGRADE_TLS: a TCP connection that becomes a TLS connection, on the same descriptor."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import ONCE, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import (
    ANCHORS,
    ERROR,
    IDENTITY,
    MOMENT_MS,
    NAME,
    PATIENCE_MS,
    REMOTE_HOSTNAME,
    TCP_UPGRADE_TLS,
    TLS,
    VERSION,
    World,
    credentials,
    hear_end,
    in_child,
    loopback,
    outcome,
    path,
    polled,
    receive,
    so_error,
    string,
    talk,
    text,
    writable,
)

UPGRADE = "2 TCP_UPGRADE_TLS"


def started(world: World, *, anchors: bool = True) -> socket.socket:
    """Make a TCP connection and agree on TLS, as SMTP does."""
    s = socket.create_connection(world.peer)
    assert receive(s, 4) == b"220\n"
    s.sendall(b"STARTTLS\n")
    assert receive(s, 3) == b"go\n"
    if anchors:
        s.setsockopt(TLS, ANCHORS, path(world.file("ca.pem")))
    return s


def upgrade(s: socket.socket, hostname: str | None = NAME) -> None:
    """Upgrade: the role is the client's when there is a name."""
    s.setsockopt(socket.IPPROTO_TCP, TCP_UPGRADE_TLS, b"" if hostname is None else text(hostname))


@behaviour(
    "upgrade.client",
    "TCP_UPGRADE_TLS with a name makes the connection TLS in the client's role, after validation; descriptor number,"
    " names and the wire stay.",
    UPGRADE,
    peer="starts_tls",
    seen={"end": "in order", "same wire": True},
)
def client(world: World) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        number, names = s.fileno(), (s.getsockname(), s.getpeername())
        yield "upgrade", outcome(upgrade, s), "ok"
        yield "same number", s.fileno() == number, True
        yield "same names", (s.getsockname(), s.getpeername()) == names, True
        yield "version", s.getsockopt(TLS, VERSION) == world.version, True
        yield "identity", string(s, IDENTITY) != "", True
        yield "hostname", string(s, REMOTE_HOSTNAME), NAME
        yield "echo", talk(s), "hello"


@behaviour(
    "upgrade.server",
    "TCP_UPGRADE_TLS without a name makes an accepted connection TLS in the server's role.",
    UPGRADE,
    peer="asks_for_tls",
    seen={"echo": "hello", "end": "in order"},
)
def server(world: World) -> Iterator[tuple[Any, ...]]:
    with socket.create_server(loopback()) as listener:
        world.tell(listener.getsockname()[1])
        s, address = listener.accept()
        s.sendall(b"220\n")
        receive(s, 9)
        credentials(s, world, "server")
        s.sendall(b"go\n")
        yield "upgrade", outcome(upgrade, s, None), "ok"
        yield "getpeername", s.getpeername() == address, True
        yield "version", s.getsockopt(TLS, VERSION) == world.version, True
        yield "heard", serve(s), "hello"


def fails(world: World, how: str) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        yield "upgrade", outcome(upgrade, s), "EPROTO"
        yield "TLS_ERROR", string(s, ERROR) != "", True
        yield "nothing goes out in plain text", outcome(s.sendall, b"secret") != "ok", True
        yield "no data", len(hear_end(s)[0]), 0


for _how, _what in (
    ("untrusted", "a certificate of an unknown authority"),
    ("other", "a certificate for another name"),
    ("plain text", "a peer that goes on in plain text"),
):
    behaviour(
        f"upgrade.fails.{_how.replace(' ', '-')}",
        f"With {_what} the upgrade fails with EPROTO, and the connection is over: nothing goes on in plain text.",
        UPGRADE,
        peer="starts_tls_badly",
        peer_arguments={"how": _how},
        seen={"application data": 0},
        arguments={"how": _how},
    )(fails)


@behaviour(
    "upgrade.without-blocking",
    "On a non-blocking descriptor the upgrade is EINPROGRESS; it is writable when the handshake has ended, and SO_ERROR"
    " tells.",
    UPGRADE,
    peer="starts_tls_late",
    seen={"end": "in order", "same wire": True},
)
def without_blocking(world: World) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        s.setblocking(False)
        yield "upgrade", outcome(upgrade, s), "EINPROGRESS"
        yield "early", writable(s, MOMENT_MS), False
        world.tell("looked")
        yield "late", writable(s), True
        yield "SO_ERROR", so_error(s), ""
        yield "still not blocking", os.get_blocking(s.fileno()), False
        s.setblocking(True)
        yield "echo", talk(s), "hello"


@behaviour(
    "upgrade.server.without-blocking",
    "A non-blocking upgrade in the server's role works the same way.",
    UPGRADE,
    peer="asks_for_tls_late",
    seen={"echo": "hello", "end": "in order"},
)
def server_without_blocking(world: World) -> Iterator[tuple[Any, ...]]:
    with socket.create_server(loopback()) as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
    s.sendall(b"220\n")
    receive(s, 9)
    credentials(s, world, "server")
    s.sendall(b"go\n")
    s.setblocking(False)
    yield "upgrade", outcome(upgrade, s, None), "EINPROGRESS"
    yield "early", writable(s, MOMENT_MS), False
    yield "send while pending", outcome(s.send, b"early"), "EAGAIN"
    world.tell("looked")
    yield "late", writable(s), True
    yield "SO_ERROR", so_error(s), ""
    s.setblocking(True)
    yield "heard", serve(s), "hello"


@behaviour(
    "upgrade.without-blocking.fails",
    "A failed non-blocking upgrade is an error event, SO_ERROR says EPROTO, and it never looks like success.",
    UPGRADE,
    peer="starts_tls_badly",
    peer_arguments={"how": "untrusted"},
    seen={"application data": 0},
)
def without_blocking_fails(world: World) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        s.setblocking(False)
        yield "upgrade", outcome(upgrade, s), "EINPROGRESS"
        yield "an error is polled", "ERR" in polled(s, select.POLLOUT, PATIENCE_MS), True
        yield "SO_ERROR", so_error(s), "EPROTO"
        yield "send", outcome(s.send, b"secret"), "EPIPE"


def in_an_epoll_set(world: World, edge: bool) -> Iterator[tuple[Any, ...]]:
    with started(world) as s, select.epoll() as epoll:
        mode = select.EPOLLET if edge else 0
        epoll.register(s, select.EPOLLIN | select.EPOLLRDHUP | mode)
        epoll.poll(0)
        yield "upgrade", outcome(upgrade, s), "ok"
        yield "nothing yet", epoll.poll(0), []
        s.sendall(b"hello")
        yield "the echo", [[number == s.fileno(), event] for number, event in epoll.poll(20)], [[True, select.EPOLLIN]]
        yield "echo", receive(s, 5).decode(), "hello"
        yield "nothing more", epoll.poll(0), []
        yield "modify", outcome(epoll.modify, s, select.EPOLLOUT | mode), "ok"
        yield "writable", [event for _, event in epoll.poll(20)], [select.EPOLLOUT]
        yield "unregister", outcome(epoll.unregister, s), "ok"


for _edge in (False, True):
    behaviour(
        f"upgrade.in-an-epoll-set{'.edge' if _edge else ''}",
        f"A descriptor that is in {'an edge' if _edge else 'a level'}-triggered epoll set stays in it through the"
        " upgrade, with its events and data.",
        UPGRADE,
        peer="starts_tls",
        seen={"end": "in order", "same wire": True},
        arguments={"edge": _edge},
    )(in_an_epoll_set)


@behaviour(
    "upgrade.copies",
    "Copies of the descriptor in the same process are upgraded with it.",
    UPGRADE,
    peer="starts_tls",
    seen={"end": "in order", "same wire": True},
)
def copies(world: World) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        copy = s.dup()
        yield "upgrade", outcome(upgrade, s), "ok"
        yield "the copy", [copy.getsockopt(TLS, VERSION) == world.version, talk(copy)], [True, "hello"]
        copy.close()
        yield "the first", talk(s), "hello"


@behaviour(
    "upgrade.in-a-child",
    "An upgraded descriptor that is inherited by a child works there.",
    UPGRADE,
    peer="starts_tls",
    seen={"end": "in order", "same wire": True},
)
def upgraded_in_a_child(world: World) -> Iterator[tuple[Any, ...]]:
    with started(world) as s:
        upgrade(s)
        yield "child", in_child(lambda: f"{s.getsockopt(TLS, VERSION) == world.version} {talk(s)}"), "True hello"


@behaviour(
    "upgrade.wrong-phase",
    "Only a connected TCP socket can be upgraded: ENOTCONN before connect, EOPNOTSUPP when it has been upgraded.",
    UPGRADE,
    peer="starts_tls",
)
def wrong_phase(world: World) -> Iterator[tuple[Any, ...]]:
    with socket.socket() as s:
        yield "not connected", outcome(upgrade, s), "ENOTCONN"
    with started(world) as s:
        upgrade(s)
        yield "again", outcome(upgrade, s), "EOPNOTSUPP"
        yield "echo", talk(s), "hello"


@behaviour(
    "upgrade.malformed",
    "A malformed hostname is EINVAL, and the connection goes on as TCP.",
    UPGRADE,
    peer="says_220_and_echoes",
    versions=ONCE,
)
def malformed(world: World) -> Iterator[tuple[Any, ...]]:
    with socket.create_connection(world.peer) as s:
        receive(s, 4)
        for what, value in {"no NUL": b"a.example", "slash": b"a/b\0", "256 bytes": b"a" * 255 + b"\0"}.items():
            yield what, outcome(s.setsockopt, socket.IPPROTO_TCP, TCP_UPGRADE_TLS, value), "EINVAL"
        yield "still TCP", talk(s), "hello"


@behaviour(
    "upgrade.options",
    "Options set on the TCP socket before the upgrade are honoured: versions and the name.",
    UPGRADE,
    peer="starts_tls_badly",
    peer_arguments={"how": "server"},
)
def options(world: World) -> Iterator[tuple[Any, ...]]:
    from tests.conformance.behaviour import TLS_1_2, TLS_1_3
    from tests.conformance.world import VERSION_MAX, VERSION_MIN

    other = TLS_1_2 if world.version == TLS_1_3 else TLS_1_3
    with started(world) as s:
        s.setsockopt(TLS, VERSION_MIN if other == TLS_1_3 else VERSION_MAX, other)
        yield "set", s.getsockopt(TLS, VERSION_MIN if other == TLS_1_3 else VERSION_MAX) == other, True
        yield "upgrade", outcome(upgrade, s), "EPROTO"
