"""Client certificates: asked for, presented, refused."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance import calls
from tests.conformance.behaviour import TLS_1_2, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.world import (
    ANCHORS,
    ERROR,
    HOSTNAME,
    IDENTITY,
    MOMENT_MS,
    PEER_CHAIN,
    REQUEST_PEER_AUTH,
    TLS,
    World,
    credentials,
    hear_end,
    loopback,
    outcome,
    path,
    readable,
    string,
    talk,
)

AUTHENTICATION = "1 TLS_REQUEST_PEER_AUTH"


def ask_for_certificates(s: socket.socket, world: World) -> None:
    """Let only peers in whose certificate the test's authority has signed."""
    s.setsockopt(TLS, ANCHORS, path(world.file("ca.pem")))
    s.setsockopt(TLS, REQUEST_PEER_AUTH, 1)


def asking(world: World) -> socket.socket:
    """Listen, and ask for certificates."""
    s = world.with_credentials()
    ask_for_certificates(s, world)
    s.bind(loopback())
    s.listen(5)
    return s


def chain_of(world: World, *names: str) -> str:
    """Return the certificates of some files as TLS_PEER_CERTIFICATE_CHAIN gives them."""
    return b"".join(map(world.content, names)).decode()


def certificates(pem: str) -> list[str]:
    """Cut a chain into its certificates, whatever stands between them."""
    mark = "-----BEGIN CERTIFICATE-----"
    return ["".join(piece.split()) for piece in pem.split(mark)[1:]]


def lets_in(world: World, common_name: str, sent: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    with asking(world) as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        yield "identity", f"CN={common_name}" in string(s, IDENTITY).split(","), True
        chain = certificates(string(s, PEER_CHAIN))
        yield "whole chain, leaf first", chain == certificates(chain_of(world, *sent)), True
        yield "length", len(chain), 2
        yield "heard", serve(s), "hello"


for _certificate, _name, _what, _sent in (
    ("client", "a client", "a certificate of the trusted authority", ("client.chain.pem", "ca.pem")),
    ("deep-client", "a deep client", "a certificate of an intermediate authority", ("deep-client.chain.pem",)),
):
    behaviour(
        f"authenticate.{_certificate}",
        f"A peer with {_what} is accepted; TLS_PEER_IDENTITY names it, and TLS_PEER_CERTIFICATE_CHAIN is its whole"
        " chain.",
        AUTHENTICATION,
        peer="presents",
        peer_arguments={"certificate": _certificate},
        seen={"echo": "hello", "end": "in order"},
        arguments={"common_name": _name, "sent": _sent},
    )(lets_in)


def keeps_out(world: World) -> Iterator[tuple[Any, ...]]:
    with asking(world) as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        yield "the first who is let in", "CN=a client" in string(s, IDENTITY).split(","), True
        yield "heard", serve(s), "hello"
        yield "nobody else", readable(listener, MOMENT_MS), False


for _certificate_or_none, _what in (
    (None, "without a certificate"),
    ("untrusted-client", "with a certificate of an unknown authority"),
    ("expired", "with an expired certificate"),
):
    behaviour(
        f"authenticate.refuses.{_certificate_or_none or 'nobody'}",
        f"A peer {_what} is refused in the handshake, and accept never returns it.",
        AUTHENTICATION,
        peer="tries_and_fails",
        peer_arguments={"certificate": _certificate_or_none},
        seen={"refused": True, "echo": "hello", "end": "in order"},
    )(keeps_out)


@behaviour(
    "authenticate.not-asked",
    "Where nobody asks, peers without certificate are accepted: TLS_PEER_IDENTITY is not there (ENOTCONN).",
    "1 TLS_PEER_IDENTITY",
    peer="presents",
    peer_arguments={"certificate": None},
    seen={"echo": "hello", "end": "in order"},
)
def not_asked(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        yield "identity", outcome(calls.get, s, TLS, IDENTITY), "ENOTCONN"
        yield "chain", outcome(calls.get, s, TLS, PEER_CHAIN), "ENOTCONN"
        yield "heard", serve(s), "hello"


@behaviour(
    "authenticate.the-server",
    "A client learns the server's identity and whole chain, leaf first.",
    "1 TLS_PEER_CERTIFICATE_CHAIN",
    peer="echoes_with",
    peer_arguments={"certificate": "deep"},
)
def the_server(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        yield "before", outcome(calls.get, s, TLS, PEER_CHAIN), "ENOTCONN"
        s.connect(world.peer)
        chain = certificates(string(s, PEER_CHAIN))
        yield "whole chain, leaf first", chain == certificates(chain_of(world, "deep.chain.pem")), True
        yield "identity", string(s, IDENTITY) != "", True
        yield "echo", talk(s), "hello"


@behaviour(
    "authenticate.as-a-client",
    "A client that has set a chain and a key presents them to a server that asks.",
    "1 TLS_CERTIFICATE_CHAIN",
    peer="asks_for_a_certificate",
    seen={"subject": "a client", "end": "in order"},
)
def as_a_client(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        credentials(s, world, "client")
        s.connect(world.peer)
        yield "echo", talk(s), "hello"


@behaviour(
    "authenticate.as-nobody",
    "A client without certificate is refused by a server that insists: EPROTO or ECONNRESET, never an end of file.",
    "3 handshake failure",
    peer="insists_on_a_certificate",
    seen={"refused": True},
)
def as_nobody(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        connected = outcome(s.connect, world.peer)
        if world.version == TLS_1_2:
            yield "connect", connected, "EPROTO"
        else:  # under TLS 1.3 the client hears of it after its own handshake has ended (RFC 8446 section 4.4.2.4)
            end = hear_end(s)[1] if connected == "ok" else connected
            yield "refused", end in {"ECONNRESET", "EPROTO"}, True
        yield (
            "TLS_ERROR names the alert",
            "certificate required" in string(s, ERROR) or "handshake" in string(s, ERROR),
            True,
        )


@behaviour(
    "accept.server-name",
    "TLS_HOSTNAME on an accepted socket is the server name that the peer asked for.",
    "1 TLS_HOSTNAME",
    peer="tells_its_address",
)
def server_name(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        world.wait()
        yield "name", string(s, HOSTNAME), "server.ssa.test"
        yield "heard", serve(s), "hello"
