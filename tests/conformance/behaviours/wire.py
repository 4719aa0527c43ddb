"""Options of other levels: those that concern the wire reach it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import ONCE, Deviation, behaviour, in_both_roles
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import World, outcome, talk

WIRE = "2 setsockopt at other levels"
ESTABLISHED, SHUT = 1, 7

CHANGES = {
    "SO_KEEPALIVE": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "TCP_KEEPIDLE": (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
    "TCP_KEEPINTVL": (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 11),
    "TCP_KEEPCNT": (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    "TCP_NODELAY": (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    "TCP_USER_TIMEOUT": (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
    "TCP_SYNCNT": (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 3),
    "IP_TOS": (socket.IPPROTO_IP, socket.IP_TOS, 0x10),
    "IP_TTL": (socket.IPPROTO_IP, socket.IP_TTL, 33),
}


@behaviour(
    "wire.before-connect",
    "TCP and IP options set before connect are those of the connection.",
    WIRE,
    peer="echoes",
    plain=True,
)
def before_connect(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        for name, (level, number, value) in CHANGES.items():
            yield f"{name}, set", outcome(s.setsockopt, level, number, value), "ok"
        s.connect(world.peer)
        for name, (level, number, value) in CHANGES.items():
            yield name, s.getsockopt(level, number), value
        yield "echo", talk(s), "hello"


@in_both_roles(
    "wire.when-connected",
    "TCP and IP options can be changed on a connection.",
    WIRE,
    peer="echoes",
    plain=True,
)
def when_connected(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        for name, (level, number, value) in CHANGES.items():
            s.setsockopt(level, number, value)
            yield name, s.getsockopt(level, number), value
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        yield "TCP_NODELAY off", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0
        yield "echo", talk(s), "hello"


@in_both_roles(
    "wire.tcp-info",
    "TCP_INFO, TCP_MAXSEG and TCP_CONGESTION are those of the TCP connection outside.",
    WIRE,
    peer="echoes",
    plain=True,
)
def tcp_info(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        yield "echo", talk(s), "hello"
        info = s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        yield "length", len(info), 104
        yield "state", info[0], ESTABLISHED
        yield "segment size", struct.unpack_from("=I", info, 16)[0] > 500, True
        yield "TCP_MAXSEG", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 500, True
        yield (
            "TCP_CONGESTION",
            s.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).strip(b"\0").decode() != "",
            True,
        )


@behaviour(
    "wire.nodelay-by-default",
    "TCP_NODELAY of a new socket is off, as TCP's.",
    WIRE,
    plain=True,
    versions=ONCE,
    deviations=tuple(
        Deviation(where, "TCP_NODELAY", 1, "the end of the handshake and the first request would wait for each other")
        for where in ("seccomp", "preload")
    ),
)
def nodelay_by_default(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        yield "TCP_NODELAY", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 0


@behaviour(
    "wire.inherited",
    "Options of the listening socket are those of the sockets that it accepts.",
    WIRE,
    peer="connects_one_by_one",
    peer_arguments={"count": 1},
    plain=True,
)
def inherited(world: World) -> Iterator[tuple[Any, ...]]:
    names = ("SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_NODELAY", "IP_TOS")
    with world.listener() as listener:
        for name in names:
            level, number, value = CHANGES[name]
            listener.setsockopt(level, number, value)
            yield f"{name} of the listener", listener.getsockopt(level, number), value
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        for name in names:
            level, number, value = CHANGES[name]
            yield name, s.getsockopt(level, number), value
        serve(s)


@behaviour(
    "wire.refused",
    "Unknown options and bad values of other levels are refused as the kernel refuses them for TCP.",
    WIRE,
    plain=True,
    versions=ONCE,
)
def refused(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        yield "unknown TCP option, set", outcome(s.setsockopt, socket.IPPROTO_TCP, 200, 1), "ENOPROTOOPT"
        yield "unknown TCP option, get", outcome(s.getsockopt, socket.IPPROTO_TCP, 200), "ENOPROTOOPT"
        yield "short value", outcome(s.setsockopt, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, b"\1"), "EINVAL"
        yield "out of range", outcome(s.setsockopt, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1 << 20), "EINVAL"
        yield (
            "unknown congestion control",
            outcome(s.setsockopt, socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"none-such"),
            "ENOENT",
        )
        yield "IPv6 option on IPv4", outcome(s.getsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), "EOPNOTSUPP"


@behaviour(
    "wire.v6only",
    "IPV6_V6ONLY is taken before bind: with it an IPv6 server and an IPv4 server share a port.",
    WIRE,
    plain=True,
    versions=ONCE,
)
def v6only(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials(socket.AF_INET6) as six, world.with_credentials() as four:
        yield "set", outcome(six.setsockopt, socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1), "ok"
        yield "get", six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 1
        four.bind(("0.0.0.0", 0))  # the kernel's choice is free in IPv4, where the other tests' ports are
        four.listen(1)
        six.bind(("::", four.getsockname()[1]))
        yield "both", outcome(six.listen, 1), "ok"


@behaviour(
    "wire.linger-zero",
    "SO_LINGER 0 makes close reset the connection, as programs do that want no TIME_WAIT.",
    WIRE,
    peer="sees_the_end",
    seen={"end": "reset"},
    plain=True,
    deviations=tuple(
        Deviation(where, "peer: end", "in order", "the daemon always delivers what was written, and ends in order")
        for where in ("seccomp", "preload")
    ),
)
def linger_zero(world: World) -> Iterator[tuple[Any, ...]]:
    s = world.connected()
    value = struct.pack("=ii", 1, 0)
    yield "set", outcome(s.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, value), "ok"
    yield "get", s.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == value, True
    s.close()


@behaviour(
    "wire.buffers",
    "SO_SNDBUF and SO_RCVBUF can be set and read.",
    WIRE,
    peer="echoes",
    plain=True,
)
def buffers(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        for name in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            yield f"set {name}", outcome(s.setsockopt, socket.SOL_SOCKET, name, 100_000), "ok"
            yield f"get {name}", s.getsockopt(socket.SOL_SOCKET, name), 200_000
        s.connect(world.peer)
        yield "echo", talk(s), "hello"
