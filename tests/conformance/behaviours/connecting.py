"""connect() as a blocking program sees it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import ONCE, Deviation, behaviour
from tests.conformance.world import (
    ERROR,
    MOMENT_MS,
    NAME,
    REMOTE_HOSTNAME,
    TLS,
    World,
    hear_end,
    outcome,
    polled,
    so_error,
    string,
    talk,
    text,
)

UNIX_BELOW = "the descriptor is a unix socket until it is connected, and the kernel answers for it"

FAILURES = {
    "untrusted": ("a certificate of an unknown authority", "issuer certificate"),
    "expired": ("an expired certificate", "expired"),
    "early": ("a certificate that is not valid yet", "not yet valid"),
    "other": ("a certificate for another name", "is not for"),
    "self-signed": ("a self-signed certificate", "self-signed"),
    "plain text": ("a peer that speaks no TLS", "speaks no TLS"),
    "silence": ("a peer that hangs up in the handshake", "closed the connection"),
    "old version": ("a peer that knows TLS 1.1 at most", "version"),
}
"""how a peer misbehaves: what it does, and a word that TLS_ERROR must have"""


@behaviour(
    "connect.succeeds",
    "A blocking connect returns 0, and the descriptor then carries data both ways.",
    "2 connect, blocking",
    peer="echoes",
    seen={"end": "in order"},
    plain=True,
)
def succeeds(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "SO_ERROR", so_error(s), ""
        yield "echo", talk(s), "hello"
        yield "connect again", outcome(s.connect, world.peer), "EISCONN"
        yield "still there", talk(s), "hello"


@behaviour(
    "connect.after-the-handshake",
    "A blocking connect does not return before the handshake has ended.",
    "2 connect, blocking",
    peer="withholds_the_handshake",
    seen={"connect returned before the handshake": False},
)
def after_the_handshake(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "ok"
        world.tell("connected")
        yield "echo", talk(s), "hello"


@behaviour(
    "connect.refused",
    "Where nobody listens, connect fails with ECONNREFUSED, and the descriptor may be used for the next try.",
    "3 TCP failure",
    peer="echoes",
    plain=True,
)
def refused(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.nowhere), "ECONNREFUSED"
        yield "getpeername", outcome(s.getpeername), "ENOTCONN"
        yield "connect to another", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


def fails(world: World, how: str) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "EPROTO"
        yield "TLS_ERROR names the reason", FAILURES[how][1] in string(s, ERROR), True
        yield "getpeername", outcome(s.getpeername), "ENOTCONN"
        yield "SO_ERROR", so_error(s), "ENOTCONN"
        yield "send", outcome(s.send, b"secret"), "ENOTCONN"
        yield "events", polled(s), ["OUT", "HUP"]
        yield "connect to a good peer", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


for _how, (_what, _) in FAILURES.items():
    behaviour(
        f"connect.fails.{_how.replace(' ', '-')}",
        f"With {_what} connect fails with EPROTO, TLS_ERROR says why, nothing is left connected,"
        " and the descriptor may be used for the next try.",
        "3 handshake failure",
        peer="misbehaves",
        peer_arguments={"how": _how, "then": True},
        seen={"application data": 0},
        arguments={"how": _how},
    )(fails)


@behaviour(
    "connect.no-hostname",
    "Without TLS_REMOTE_HOSTNAME connect fails with EPROTO, and nothing reaches the wire.",
    "3 no TLS_REMOTE_HOSTNAME",
    peer="echoes",
)
def no_hostname(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client(name=None) as s:
        yield "connect", outcome(s.connect, world.peer), "EPROTO"
        yield "TLS_ERROR names the option", "TLS_REMOTE_HOSTNAME" in string(s, ERROR), True
        s.setsockopt(TLS, REMOTE_HOSTNAME, text(NAME))
        yield "connect with it", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


@behaviour(
    "connect.by-address",
    "A certificate may be for an IP address, and TLS_REMOTE_HOSTNAME may be one.",
    "1 TLS_REMOTE_HOSTNAME",
    peer="echoes",
)
def by_address(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client(name="127.0.0.1") as s:
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "echo", talk(s), "hello"


@behaviour(
    "connect.own-time-out",
    "A program's own time-out on connect works: the wire is closed with the descriptor.",
    "2 connect, non-blocking",
    peer="never_answers",
    seen={"the wire ended": True},
)
def own_time_out(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.settimeout(MOMENT_MS / 1000)
        yield "connect", outcome(s.connect, world.peer), "timed out"


@behaviour(
    "socket.kinds",
    "Other kinds of secure sockets do not exist: SOCK_DGRAM and AF_UNIX give EPROTONOSUPPORT.",
    "2 socket",
    versions=ONCE,
)
def kinds(world: World) -> Iterator[tuple[Any, ...]]:
    for name, family, kind in (
        ("datagrams", socket.AF_INET, socket.SOCK_DGRAM),
        ("datagrams over IPv6", socket.AF_INET6, socket.SOCK_DGRAM),
        ("unix", socket.AF_UNIX, socket.SOCK_STREAM),
        ("seqpacket", socket.AF_UNIX, socket.SOCK_SEQPACKET),
    ):
        yield name, outcome(socket.socket, family, kind, world.protocol), "EPROTONOSUPPORT"


@behaviour(
    "socket.unconnected",
    "A socket that is not connected answers as TCP does: ENOTCONN, and poll says OUT and HUP.",
    "2 socket",
    plain=True,
    versions=ONCE,
    deviations=(
        Deviation("seccomp", "recv", "EINVAL", UNIX_BELOW),
        Deviation("preload", "recv", "EINVAL", UNIX_BELOW),
        Deviation("plain", "send", "EPIPE", "TCP alone has EPIPE here; ENOTCONN is what send(2) documents"),
        Deviation("plain", "SO_ERROR", "", "a connect that a signal broke off must not look like success"),
        Deviation("seccomp", "shutdown", "ok", UNIX_BELOW),
        Deviation("preload", "shutdown", "ok", UNIX_BELOW),
    ),
)
def unconnected(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        yield "recv", outcome(s.recv, 1), "ENOTCONN"
        yield "send", outcome(s.send, b"x"), "ENOTCONN"
        yield "getpeername", outcome(s.getpeername), "ENOTCONN"
        yield "getsockname", s.getsockname(), ["0.0.0.0", 0]
        yield "SO_ERROR", so_error(s), "ENOTCONN"
        yield "events", polled(s), ["OUT", "HUP"]
        yield "shutdown", outcome(s.shutdown, socket.SHUT_WR), "ENOTCONN"


@behaviour(
    "connect.malformed-address",
    "A short address is EINVAL, one of another family EAFNOSUPPORT, and a pointer to nowhere EFAULT.",
    "3 malformed value",
    plain=True,
    versions=ONCE,
)
def malformed_address(world: World) -> Iterator[tuple[Any, ...]]:
    good = calls.sockaddr(socket.AF_INET, *world.nowhere)
    with world.client() as s:
        yield "short", outcome(calls.connect, s, good[:8]), "EINVAL"
        yield "one byte", outcome(calls.connect, s, good, 1), "EINVAL"
        yield "another family", outcome(calls.connect, s, b"\x01\x00" + good[2:]), "EAFNOSUPPORT"
        yield "nowhere", outcome(calls.with_bad_pointer, "connect", s, -8, 16), "EFAULT"
        yield "length below zero", outcome(calls.connect, s, good, -1), "EINVAL"
        yield "then refused", outcome(s.connect, world.nowhere), "ECONNREFUSED"


@behaviour(
    "connect.peer-ends-at-once",
    "A peer that ends in order right after the handshake is an end of file, not a failure of connect.",
    "2 connect, blocking",
    peer="ends_at_once",
    plain=True,
)
def peer_ends_at_once(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(s.connect, world.peer), "ok"
        data, end = hear_end(s)
        yield "data", data.decode(), "bye"
        yield "end", end, "end"
