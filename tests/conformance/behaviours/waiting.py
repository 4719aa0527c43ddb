"""connect() as a program sees it that polls."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import Deviation, behaviour
from tests.conformance.behaviours.connecting import FAILURES
from tests.conformance.world import (
    ERROR,
    MOMENT_MS,
    PATIENCE_MS,
    World,
    outcome,
    polled,
    so_error,
    string,
    talk,
    writable,
)

_SECONDS = 1000
_FAILURES = {"refused": ("nobody who listens", "refused"), **FAILURES}
_ONCE_MORE = Deviation(
    "plain", "connect when connected", "ok", "Linux's TCP says 0 once before it says EISCONN, when it was not blocking"
)


class Watch:
    """One of the ways to wait for a connect."""

    def __init__(self, how: str, s: socket.socket) -> None:
        self._how, self._socket = how, s
        self._epoll = select.epoll() if how.startswith("epoll") else None
        if self._epoll is not None:
            edge = select.EPOLLET if how == "epoll, edge" else 0
            self._epoll.register(s, select.EPOLLIN | select.EPOLLOUT | edge)
            if edge:
                self._epoll.poll(0)  # what an unconnected socket has to say

    def __call__(self, wait_ms: int) -> str:
        """Return "", "readable", "writable" or both."""
        if self._how == "select":
            found = select.select([self._socket], [self._socket], [], wait_ms / _SECONDS)
            read, write = map(bool, found[:2])
        elif self._epoll is not None:
            events = self._epoll.poll(wait_ms / _SECONDS)
            read, write = (any(event & bit for _, event in events) for bit in (select.EPOLLIN, select.EPOLLOUT))
        else:
            names = polled(self._socket, select.POLLIN | select.POLLOUT, wait_ms)
            read, write = "IN" in names, "OUT" in names
        return " ".join(["readable"] * read + ["writable"] * write)

    def close(self) -> None:
        if self._epoll is not None:
            self._epoll.close()


def waits(world: World, how: str) -> Iterator[tuple[Any, ...]]:
    world.wait()  # until the peer holds every connect back
    with world.client() as s:
        s.setblocking(False)
        watch = Watch(how, s)
        yield "connect", outcome(s.connect, world.peer), "EINPROGRESS"
        yield "early", watch(MOMENT_MS), ""
        yield "connect while pending", outcome(s.connect, world.peer), "EALREADY"
        yield "send while pending", outcome(s.send, b"x"), "EAGAIN"
        yield "recv while pending", outcome(s.recv, 1), "EAGAIN"
        yield "getpeername while pending", outcome(s.getpeername), "ENOTCONN"
        yield "SO_ERROR while pending", so_error(s), ""
        yield "still", watch(MOMENT_MS), ""
        world.tell("looked")
        yield "late", watch(PATIENCE_MS), "writable"
        yield "SO_ERROR", so_error(s), ""
        yield "connect when connected", outcome(s.connect, world.peer), "EISCONN"
        yield "and once more", outcome(s.connect, world.peer), "EISCONN"
        watch.close()
        s.setblocking(True)
        yield "echo", talk(s), "hello"


for _how in ("poll", "select", "epoll", "epoll, edge"):
    behaviour(
        f"nonblocking.{_how.replace(', ', '-')}",
        f"A non-blocking connect watched by {_how}: EINPROGRESS at once, EALREADY while pending, writable only when the"
        " handshake has ended, SO_ERROR 0, EISCONN from then on.",
        "2 connect, non-blocking",
        peer="holds_back",
        seen={"end": "in order"},
        arguments={"how": _how},
        plain=True,
        deviations=(_ONCE_MORE,),
    )(waits)


def fails(world: World, how: str) -> Iterator[tuple[Any, ...]]:
    refused = how == "refused"
    with world.client() as s:
        s.setblocking(False)
        yield "connect", outcome(s.connect, world.nowhere if refused else world.peer), "EINPROGRESS"
        events = polled(s, select.POLLOUT, PATIENCE_MS)
        yield "an error is polled", "ERR" in events, True
        yield "SO_ERROR", so_error(s), "ECONNREFUSED" if refused else "EPROTO"
        yield "SO_ERROR again", so_error(s), ""
        if world.tls:
            yield "TLS_ERROR names the reason", _FAILURES[how][1] in string(s, ERROR), True
        yield "getpeername", outcome(s.getpeername), "ENOTCONN"
        yield "send", outcome(s.send, b"secret"), "EPIPE"
        if world.tls:
            yield "recv is no end of file", outcome(s.recv, 1), "ECONNRESET"
            yield "connect again", outcome(s.connect, world.peer), "EBADFD"


for _how, (_what, _) in _FAILURES.items():
    _peer = {} if _how == "refused" else {"peer": "misbehaves", "peer_arguments": {"how": _how, "then": False}}
    behaviour(
        f"nonblocking.fails.{_how.replace(' ', '-')}",
        f"With {_what} a non-blocking connect ends in an error event, SO_ERROR tells the errno once, and it never looks"
        " like success.",
        "2 connect, non-blocking",
        arguments={"how": _how},
        seen={} if _how == "refused" else {"application data": 0},
        plain=_how == "refused",
        **_peer,
    )(fails)


@behaviour(
    "nonblocking.edge-after-failure",
    "Edge-triggered epoll reports a failed connect.",
    "2 connect, non-blocking",
    plain=True,
)
def edge_after_failure(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s, select.epoll() as epoll:
        s.setblocking(False)
        epoll.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
        epoll.poll(0)
        outcome(s.connect, world.nowhere)
        events = 0
        while not events & select.EPOLLERR:
            ((_, events),) = epoll.poll(PATIENCE_MS / _SECONDS)
        yield "SO_ERROR", so_error(s), "ECONNREFUSED"


@behaviour(
    "nonblocking.connect_ex",
    "Python's connect_ex and settimeout, which poll and then ask SO_ERROR, see the same errnos.",
    "2 connect, non-blocking",
    peer="echoes",
    plain=True,
)
def connect_ex(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.settimeout(PATIENCE_MS / _SECONDS)
        yield "refused", s.connect_ex(world.nowhere), errno.ECONNREFUSED
    with world.client() as s:
        s.settimeout(PATIENCE_MS / _SECONDS)
        yield "connected", s.connect_ex(world.peer), 0
        yield "echo", talk(s), "hello"


@behaviour(
    "nonblocking.closed-while-pending",
    "A descriptor that is closed while its connect is pending takes the wire with it.",
    "2 connect, non-blocking",
    peer="never_answers",
    seen={"the wire ended": True},
)
def closed_while_pending(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setblocking(False)
        yield "connect", outcome(s.connect, world.peer), "EINPROGRESS"
        yield "pending", writable(s, MOMENT_MS), False
