"""A server's certificates and keys: several on one listener, and everything that can be wrong with them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import ONCE, TLS_1_2, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import (
    CHAIN,
    ERROR,
    HOSTNAME,
    KEY,
    STAPLING,
    TLS,
    World,
    credentials,
    loopback,
    outcome,
    path,
    string,
    text,
)

SEVERAL = "1 TLS_CERTIFICATE_CHAIN"


def listening(s: socket.socket, world: World) -> socket.socket:
    """Bind, listen, and tell the peer."""
    s.bind(loopback())
    s.listen(5)
    world.tell(s.getsockname()[1])
    return s


def serve_so_many(listener: socket.socket, count: int) -> list[str]:
    """Serve one connection after the other; return the server names that they asked for."""
    names = []
    for _ in range(count):
        s, _ = listener.accept()
        names.append(string(s, HOSTNAME))
        serve(s)
    return names


@behaviour(
    "certificates.by-name",
    "Of several certificates the peer is shown the one for the name it asks for: exact before wildcard, the first for"
    " any other.",
    SEVERAL,
    peer="asks_for_names",
    seen={"shown": ["server.ssa.test", "other.ssa.test", "*.wild.ssa.test"]},
)
def by_name(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as listener:
        for files in ("server", "other", "wildcard"):
            credentials(listener, world, files)
        listening(listener, world)
        names = serve_so_many(listener, 3)
        yield "asked for", names, ["server.ssa.test", "other.ssa.test", "any.wild.ssa.test"]


@behaviour(
    "certificates.no-name",
    "A peer that asks for no name is shown the first certificate, and TLS_HOSTNAME is empty.",
    SEVERAL,
    peer="asks_for_names",
    peer_arguments={"names": (None,)},
    seen={"shown": ["other.ssa.test"]},
)
def no_name(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as listener:
        for files in ("other", "server"):
            credentials(listener, world, files)
        listening(listener, world)
        s, _ = listener.accept()
        name = outcome(string, s, HOSTNAME)
        yield "asked for", string(s, HOSTNAME) if name == "ok" else name, ""
        serve(s)


@behaviour(
    "certificates.only-named",
    "With TLS_HOSTNAME set on the listener, peers that ask for another name are refused in the handshake.",
    "1 TLS_HOSTNAME",
    peer="asks_for_a_stranger",
    seen={"refused": True, "echo": "hello"},
)
def only_named(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        credentials(listener, world, "other")
        listener.setsockopt(TLS, HOSTNAME, text("server.ssa.test"))
        listening(listener, world)
        yield "asked for", serve_so_many(listener, 1), ["server.ssa.test"]


@behaviour(
    "certificates.stapling",
    "TLS_SERVER_OCSP_STAPLING is read back, by accepted sockets too; no handshake waits for an answer to staple: while"
    " there is none, they go on without.",
    "1 TLS_SERVER_OCSP_STAPLING",
    peer="connects_one_by_one",
    peer_arguments={"count": 2},
    seen={"echoes": ["0", "1"], "ends": ["in order"]},
)
def stapling(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        yield "by default", listener.getsockopt(TLS, STAPLING), 0
        yield "set", outcome(listener.setsockopt, TLS, STAPLING, 1), "ok"
        yield "neither 0 nor 1", outcome(listener.setsockopt, TLS, STAPLING, 2), "EINVAL"
        listener.bind(loopback())
        listener.listen()
        yield "listening", listener.getsockopt(TLS, STAPLING), 1
        yield "too late", outcome(listener.setsockopt, TLS, STAPLING, 0), "EOPNOTSUPP"
        world.tell(listener.getsockname()[1])
        for number in range(2):
            s, _ = listener.accept()
            yield f"accepted {number}", s.getsockopt(TLS, STAPLING), 1
            yield f"heard {number}", serve(s), str(number)


@behaviour(
    "certificates.rsa-beside-ecdsa",
    "Two certificates for one name, ECDSA and RSA: each peer is shown one that it can verify.",
    SEVERAL,
    peer="prefers_ecdsa_or_rsa",
    seen={"ciphers": ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]},
    versions=(TLS_1_2,),
)
def rsa_beside_ecdsa(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as listener:
        for files in ("server", "rsa"):
            credentials(listener, world, files)
        listening(listener, world)
        yield "asked for", serve_so_many(listener, 2), ["server.ssa.test"] * 2


def takes(world: World, form: str) -> Iterator[tuple[Any, ...]]:
    with world.bare() as listener:
        if form == "key first":
            listener.setsockopt(TLS, KEY, path(world.file("server.key.pem")))
            listener.setsockopt(TLS, CHAIN, path(world.file("server.chain.pem")))
        elif form == "chain as bytes":
            listener.setsockopt(TLS, CHAIN, world.content("server.chain.pem"))
            listener.setsockopt(TLS, KEY, world.content("server.key.pem"))
        else:
            listener.setsockopt(TLS, CHAIN, path(world.file("server.chain.pem")))
            listener.setsockopt(TLS, KEY, path(world.file("server.key.der")))
        listening(listener, world)
        yield "heard", serve(listener.accept()[0]), "hello"


for _form, _sentence in {
    "key first": "Key and chain may be set in either order.",
    "chain as bytes": "Chain and key may be PEM bytes instead of paths.",
    "DER key": "A key's file may be DER.",
}.items():
    behaviour(
        f"certificates.{_form.lower().replace(' ', '-')}",
        _sentence,
        "1 TLS_PRIVATE_KEY",
        peer="tells_its_address",
        seen={"echo": "hello", "end": "in order"},
        arguments={"form": _form},
    )(takes)


@behaviour(
    "certificates.that-do-not-match",
    "A key of another certificate, a key alone, a chain alone, or neither: EPROTO at listen, and TLS_ERROR says so.",
    "3 key does not match certificate",
    versions=ONCE,
)
def that_do_not_match(world: World) -> Iterator[tuple[Any, ...]]:
    for what, options in {
        "mismatch": [(KEY, "rsa.key.pem"), (CHAIN, "server.chain.pem")],
        "chain alone": [(CHAIN, "server.chain.pem")],
        "key alone": [(KEY, "server.key.pem")],
        "nothing": [],
    }.items():
        with world.bare() as s:
            for option, file in options:
                s.setsockopt(TLS, option, path(world.file(file)))
            yield f"{what}: bind", outcome(s.bind, loopback()), "ok"
            yield what, outcome(s.listen, 5), "EPROTO"
            yield f"{what}: TLS_ERROR says so", string(s, ERROR) != "", True


@behaviour(
    "certificates.that-do-not-match-at-once",
    "A key that is set after a chain, and is not of it, is EPROTO at once; the right one may be set then.",
    "3 key does not match certificate",
    peer="tells_its_address",
    seen={"echo": "hello", "end": "in order"},
)
def that_do_not_match_at_once(world: World) -> Iterator[tuple[Any, ...]]:
    with world.bare() as s:
        s.setsockopt(TLS, CHAIN, path(world.file("server.chain.pem")))
        yield "another key", outcome(s.setsockopt, TLS, KEY, path(world.file("rsa.key.pem"))), "EPROTO"
        yield "TLS_ERROR says so", "does not match" in string(s, ERROR), True
        yield "the right key", outcome(s.setsockopt, TLS, KEY, path(world.file("server.key.pem"))), "ok"
        yield "heard", serve(listening(s, world).accept()[0]), "hello"


@behaviour(
    "certificates.that-do-not-match-at-connect",
    "A client whose key is of another certificate gets EPROTO from connect.",
    "3 key does not match certificate",
    versions=ONCE,
)
def that_do_not_match_at_connect(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setsockopt(TLS, KEY, path(world.file("rsa.key.pem")))
        s.setsockopt(TLS, CHAIN, path(world.file("client.chain.pem")))
        yield "connect", outcome(s.connect, world.nowhere), "EPROTO"


@behaviour(
    "certificates.files",
    "A missing file is ENOENT, one that the caller may not read EACCES, one that cannot be parsed EINVAL; TLS_ERROR"
    " says which.",
    "3 file missing",
    versions=ONCE,
)
def files(world: World) -> Iterator[tuple[Any, ...]]:
    s = world.bare()
    if os.geteuid() == 0:  # who may read everything
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    def tried(option: int, file: str) -> str:
        return f"{outcome(s.setsockopt, TLS, option, path(world.file(file)))} {bool(string(s, ERROR))}"

    for option, name in ((CHAIN, "chain"), (KEY, "key")):
        yield f"{name} missing", tried(option, "no-such-file.pem"), "ENOENT True"
        yield f"{name} unreadable", tried(option, "unreadable.pem"), "EACCES True"
        yield f"{name} unparsable", tried(option, "garbage.pem"), "EINVAL True"
        yield f"{name} a directory", tried(option, "anchors"), "EINVAL True"
        yield f"{name} in a file as directory", tried(option, "garbage.pem/x"), "ENOTDIR True"
    yield "key of another kind", tried(KEY, "server.chain.pem"), "EINVAL True"
    yield "chain of another kind", tried(CHAIN, "server.key.pem"), "EINVAL True"
    s.close()


@behaviour(
    "certificates.key-is-secret",
    "TLS_PRIVATE_KEY can never be read back, in whatever phase: ENOPROTOOPT, and not a byte.",
    "1 TLS_PRIVATE_KEY",
    peer="tells_its_address",
)
def key_is_secret(world: World) -> Iterator[tuple[Any, ...]]:
    def read(s: socket.socket) -> list[Any]:
        word, value, _ = calls.getsockopt(s, TLS, KEY, 8192)
        return [word, value.strip(b"\0").decode("latin-1")]

    with world.bare() as listener:
        yield "before", read(listener), ["ENOPROTOOPT", ""]
        credentials(listener, world, "server")
        yield "set", read(listener), ["ENOPROTOOPT", ""]
        listening(listener, world)
        yield "listening", read(listener), ["ENOPROTOOPT", ""]
        s, _ = listener.accept()
        yield "accepted", read(s), ["ENOPROTOOPT", ""]
        serve(s)
