"""Names of both ends, and names that the daemon resolves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import ONCE, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import (
    ANCHORS,
    NAME,
    REMOTE_HOSTNAME,
    TLS,
    World,
    loopback,
    outcome,
    path,
    string,
    talk,
    text,
)

NAMES = "2 getsockname, getpeername"
BY_NAME = "2 AF_HOSTNAME"


def names(world: World, family: int) -> Iterator[tuple[Any, ...]]:
    peer = world.peer if family == socket.AF_INET else world.peer6
    with world.client(family) as s:
        s.connect(peer)
        seen = tuple(world.wait())
        yield "getpeername", s.getpeername() == peer, True
        yield "getsockname is what the peer sees", s.getsockname() == seen, True
        yield "echo", talk(s), "hello"


behaviour(
    "names.connected",
    "getsockname and getpeername are the addresses on the wire, as the peer sees them.",
    NAMES,
    peer="echoes_and_tells_the_address",
    arguments={"family": socket.AF_INET},
    plain=True,
)(names)
behaviour(
    "names.connected.ipv6",
    "getsockname and getpeername are the addresses on the wire over IPv6 too.",
    NAMES,
    peer="echoes_from_ipv6",
    arguments={"family": socket.AF_INET6},
    plain=True,
)(names)


def accepted_names(world: World, family: int) -> Iterator[tuple[Any, ...]]:
    with world.listener(family) as listener:
        own = listener.getsockname()
        world.tell(own[1])
        s, address = listener.accept()
        seen = tuple(world.wait())
        yield "accept's address", address == seen, True
        yield "getpeername", s.getpeername() == seen, True
        yield "getsockname", s.getsockname() == own, True
        yield "heard", serve(s), "hello"


behaviour(
    "names.accepted",
    "accept's address and getpeername are the real peer's; getsockname is the address that it connected to.",
    NAMES,
    peer="tells_its_address",
    arguments={"family": socket.AF_INET},
    plain=True,
)(accepted_names)
behaviour(
    "names.accepted.ipv6",
    "accept's address, getpeername and getsockname are the wire's over IPv6 too.",
    NAMES,
    peer="connects_from_ipv6",
    arguments={"family": socket.AF_INET6},
    plain=True,
)(accepted_names)


@behaviour(
    "names.room",
    "getsockname and getpeername fill the room they are given and tell the true length; bad pointers are EFAULT.",
    NAMES,
    peer="echoes",
    plain=True,
)
def room(world: World) -> Iterator[tuple[Any, ...]]:
    with world.connected() as s:
        for peer in (False, True):
            name = s.getpeername() if peer else s.getsockname()
            whole = calls.sockaddr(socket.AF_INET, *name)
            call = "getpeername" if peer else "getsockname"
            for size in (0, 4, 16, 100):
                seen, length = calls.getname(s, size, peer=peer)
                yield f"{call}, room {size}", [seen == whole[:size].ljust(len(seen), b"\xee"), length], [True, 16]
            yield f"{call} nowhere", outcome(calls.with_bad_pointer, call, s, -8, -8), "EFAULT"


@behaviour(
    "names.described",
    "SO_DOMAIN, SO_TYPE and SO_PROTOCOL describe the socket that was asked for; SO_ACCEPTCONN says whether it listens.",
    "2 setsockopt at other levels",
    plain=True,
    versions=ONCE,
)
def described(world: World) -> Iterator[tuple[Any, ...]]:
    for family in (socket.AF_INET, socket.AF_INET6):
        with world.with_credentials(family) as s:
            seen = [s.getsockopt(socket.SOL_SOCKET, name) for name in (socket.SO_DOMAIN, socket.SO_TYPE)]
            yield f"{family.name}: domain and type", seen, [family, socket.SOCK_STREAM]
            protocol = s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
            yield f"{family.name}: protocol is the one asked for", protocol == world.protocol, True
            yield f"{family.name}: listens", s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 0
            s.listen(1)
            yield f"{family.name}: listens now", s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), 1


@behaviour(
    "names.bound",
    "A client that binds connects from there; binding twice or after connect is EINVAL.",
    "2 bind",
    peer="echoes_and_tells_the_address",
    plain=True,
)
def bound(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "bind", outcome(s.bind, loopback()), "ok"
        own = s.getsockname()
        yield "bind again", outcome(s.bind, loopback()), "EINVAL"
        yield "bound to", [own[0], own[1] > 0], ["127.0.0.1", True]
        s.connect(world.peer)
        yield "the peer sees it", tuple(world.wait()) == own, True
        yield "getsockname", s.getsockname() == own, True
        yield "bind when connected", outcome(s.bind, loopback()), "EINVAL"
        yield "echo", talk(s), "hello"


@behaviour(
    "names.bound-and-refused",
    "A bound client keeps its port when a connect fails and the next one succeeds.",
    "2 bind",
    peer="echoes_and_tells_the_address",
)
def bound_and_refused(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.bind(loopback())
        own = s.getsockname()
        yield "refused", outcome(s.connect, world.nowhere), "ECONNREFUSED"
        yield "getsockname", s.getsockname() == own, True
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "the peer sees it", tuple(world.wait()) == own, True
        yield "echo", talk(s), "hello"


def by_name(world: World, family: int) -> Iterator[tuple[Any, ...]]:
    with world.bare(family) as s:
        s.setsockopt(TLS, ANCHORS, path(world.file("ca.pem")))
        yield "connect", outcome(calls.connect, s, calls.sockaddr_host(b"localhost\0", world.peer[1])), "ok"
        yield "TLS_REMOTE_HOSTNAME", string(s, REMOTE_HOSTNAME), "localhost"
        yield "getpeername", s.getpeername() == world.peer, True
        yield "echo", talk(s), "hello"


behaviour(
    "hostname.resolved",
    "connect to an AF_HOSTNAME address resolves the name in the daemon, and checks the certificate for it.",
    BY_NAME,
    peer="echoes_with",
    peer_arguments={"certificate": "local"},
    arguments={"family": socket.AF_INET},
)(by_name)


@behaviour(
    "hostname.another-is-set",
    "A TLS_REMOTE_HOSTNAME that was set before is the one that is checked, whatever name is resolved.",
    BY_NAME,
    peer="echoes",
    seen={"end": "in order"},
)
def another_is_set(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "connect", outcome(calls.connect, s, calls.sockaddr_host(b"localhost\0", world.peer[1])), "ok"
        yield "TLS_REMOTE_HOSTNAME", string(s, REMOTE_HOSTNAME), NAME
        yield "echo", talk(s), "hello"


@behaviour(
    "hostname.malformed",
    "An AF_HOSTNAME address without NUL, without a name, or cut short is EINVAL; one that nobody knows is an error.",
    BY_NAME,
    versions=ONCE,
)
def malformed(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        whole = calls.sockaddr_host(b"localhost\0", world.nowhere[1])
        yield "no NUL", outcome(calls.connect, s, calls.sockaddr_host(b"a" * 255, 1)), "EINVAL"
        yield "no name", outcome(calls.connect, s, calls.sockaddr_host(b"", 1)), "EINVAL"
        yield "cut short", outcome(calls.connect, s, whole[:3]), "EINVAL"
        yield "not for bind", outcome(calls.bind, s, whole), "EAFNOSUPPORT"
        yield "refused", outcome(calls.connect, s, whole), "ECONNREFUSED"
        yield "unknown", outcome(calls.connect, s, calls.sockaddr_host(b"no-such-name.invalid\0", 1)) != "ok", True


@behaviour(
    "hostname.without-blocking",
    "A non-blocking connect to an AF_HOSTNAME address does not wait for the resolver.",
    BY_NAME,
    peer="echoes_with",
    peer_arguments={"certificate": "local"},
)
def without_blocking(world: World) -> Iterator[tuple[Any, ...]]:
    from tests.conformance.world import so_error, writable

    with world.bare() as s:
        s.setsockopt(TLS, ANCHORS, path(world.file("ca.pem")))
        s.setsockopt(TLS, REMOTE_HOSTNAME, text("localhost"))
        s.setblocking(False)
        yield "connect", outcome(calls.connect, s, calls.sockaddr_host(b"localhost\0", world.peer[1])), "EINPROGRESS"
        yield "writable", writable(s), True
        yield "SO_ERROR", so_error(s), ""
        s.setblocking(True)
        yield "echo", talk(s), "hello"
