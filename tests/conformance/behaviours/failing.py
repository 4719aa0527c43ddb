"""When the daemon is killed: errors at once, never a hang, never an end of file, never plain text."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import ONCE, Deviation, behaviour
from tests.conformance.world import (
    CIPHER,
    PATIENCE_MS,
    TLS,
    World,
    hear_end,
    outcome,
    polled,
    readable,
    so_error,
    talk,
)

FAILS = "3 the daemon failed or restarted"


@behaviour(
    "daemon.killed.connected",
    "When the daemon is killed, open connections are reset: ECONNRESET, also for options; new sockets are ENOTCONN.",
    FAILS,
    peer="kills_the_daemon",
    own_daemon=True,
    versions=ONCE,
)
def connected(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "echo", talk(s), "hello"
        world.tell("kill")
        data, end = hear_end(s)
        yield "data", data.decode(), ""
        yield "end", end, "ECONNRESET"
        yield "send", outcome(s.send, b"x"), "EPIPE"
        yield "option", outcome(s.getsockopt, TLS, CIPHER, 100), "ECONNRESET"
        yield "new socket", outcome(world.bare), "ENOTCONN"


@behaviour(
    "daemon.killed.accepted",
    "The same for accepted connections.",
    FAILS,
    peer="kills_the_daemon",
    role="acceptor",
    own_daemon=True,
    versions=ONCE,
)
def accepted(world: World) -> Iterator[tuple[Any, ...]]:
    yield from connected(world)


@behaviour(
    "daemon.killed.polled",
    "poll and epoll wake when the daemon is killed.",
    FAILS,
    peer="kills_the_daemon",
    own_daemon=True,
    versions=ONCE,
)
def polled_when_killed(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s, select.epoll() as epoll:
        epoll.register(s, select.EPOLLIN | select.EPOLLET)
        yield "echo", talk(s), "hello"
        epoll.poll(0)
        world.tell("kill")
        yield "poll", "IN" in polled(s, select.POLLIN, PATIENCE_MS), True
        yield "epoll", bool(epoll.poll(PATIENCE_MS / 1000)), True
        yield "recv", outcome(s.recv, 1), "ECONNRESET"


@behaviour(
    "daemon.killed.opened",
    "A socket that is not connected yet is ENOTCONN from then on, for every call.",
    FAILS,
    peer="only_kills_the_daemon",
    own_daemon=True,
    versions=ONCE,
)
def opened(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        world.tell("kill")
        world.wait()
        yield "option", outcome(s.getsockopt, TLS, CIPHER, 100), "ENOTCONN"
        yield "connect", outcome(s.connect, world.peer), "ENOTCONN"
        yield "bind", outcome(s.bind, ("127.0.0.1", 0)), "ENOTCONN"
        yield "recv fails", outcome(s.recv, 1) != "ok", True


@behaviour(
    "daemon.killed.connecting",
    "A blocking connect under way is ECONNRESET.",
    FAILS,
    peer="kills_the_daemon_in_the_handshake",
    own_daemon=True,
    versions=ONCE,
)
def connecting(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "ECONNRESET"
        yield "getpeername", outcome(s.getpeername) != "ok", True


@behaviour(
    "daemon.killed.connecting-without-blocking",
    "A non-blocking connect under way ends in an error event, and SO_ERROR is no success.",
    FAILS,
    peer="kills_the_daemon_in_the_handshake",
    own_daemon=True,
    versions=ONCE,
)
def connecting_without_blocking(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setblocking(False)
        yield "connect", outcome(s.connect, world.peer), "EINPROGRESS"
        yield "an error is polled", "ERR" in polled(s, select.POLLOUT, PATIENCE_MS), True
        asked = outcome(lambda: so_error(s))
        yield "SO_ERROR is no success", asked != "ok" or so_error(s) != "", True
        yield "recv", outcome(s.recv, 1), "ECONNRESET"


@behaviour(
    "daemon.killed.accepting",
    "A blocking accept under way fails when the daemon is killed, and so does every later one: never a hang.",
    FAILS,
    peer="kills_the_daemon_in_accept",
    own_daemon=True,
    versions=ONCE,
)
def accepting(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell("kill")
        yield "accept", outcome(listener.accept), "ENOTCONN"
        yield "accept again", outcome(listener.accept), "ENOTCONN"


@behaviour(
    "daemon.killed.polling-a-listener",
    "A program that polls its listener wakes when the daemon is killed, and accept tells.",
    FAILS,
    peer="kills_the_daemon_in_accept",
    own_daemon=True,
    versions=ONCE,
    deviations=(Deviation("preload", "woken", False, "nobody but the application is there to notice; accept tells"),),
)
def polling_a_listener(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        listener.setblocking(False)
        world.tell("kill")
        yield "woken", readable(listener, 3000) or bool(polled(listener)), True
        yield "accept", outcome(listener.accept), "ENOTCONN"


@behaviour(
    "daemon.restarted",
    "After a restart the same process opens new sockets and connects.",
    FAILS,
    peer="restarts_the_daemon",
    own_daemon=True,
    versions=ONCE,
)
def restarted(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.connect(world.peer)
        yield "echo", talk(s), "hello"
        world.tell("restart")
        world.wait()
        yield "the old one", hear_end(s)[1], "ECONNRESET"
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "echo again", talk(s), "hello"


@behaviour(
    "daemon.absent",
    "Plain sockets do not need the daemon.",
    FAILS,
    peer="only_kills_the_daemon",
    own_daemon=True,
    versions=ONCE,
)
def absent(world: World) -> Iterator[tuple[Any, ...]]:
    world.tell("kill")
    world.wait()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as s:
        other, _ = listener.accept()
        with other:
            s.sendall(b"plain")
            yield "TCP", other.recv(5).decode(), "plain"
    yield "TLS", outcome(world.bare), "ENOTCONN"
