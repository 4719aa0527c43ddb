"""Versions, ciphers and protocols: what was asked for, and what was agreed on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import TLS_1_2, TLS_1_3, behaviour
from tests.conformance.behaviours.accepting import serve
from tests.conformance.behaviours.certificates import listening
from tests.conformance.world import (
    ALPN,
    CIPHER,
    DISABLE_CIPHER,
    ENABLE_CIPHER,
    ERROR,
    GROUP,
    RESUMED,
    TLS,
    TRUSTED_CIPHERS,
    VERSION,
    VERSION_MAX,
    VERSION_MIN,
    World,
    outcome,
    string,
    talk,
    text,
)

NAMES_OF_VERSIONS = {TLS_1_2: "TLSv1.2", TLS_1_3: "TLSv1.3"}


@behaviour(
    "negotiated.known",
    "After connect TLS_VERSION_CONN, TLS_CHOSEN_CIPHER and TLS_CHOSEN_GROUP are what the peer has agreed on.",
    "1 TLS_VERSION_CONN",
    peer="says_what_it_negotiated",
)
def known(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.connect(world.peer)
        agreed = world.wait()
        yield "version", s.getsockopt(TLS, VERSION) == world.version, True
        yield "version at the peer", agreed["version"] == NAMES_OF_VERSIONS[world.version or 0], True
        yield "cipher", string(s, CIPHER) == agreed["cipher"], True
        yield "cipher is allowed", string(s, CIPHER) in string(s, TRUSTED_CIPHERS).split(":"), True
        yield "group", string(s, GROUP) != "", True
        yield "resumed", s.getsockopt(TLS, RESUMED), 0
        yield "echo", talk(s), "hello"


@behaviour(
    "negotiated.known.accepted",
    "On an accepted socket the same is known, and none of it on the listener.",
    "1 TLS_VERSION_CONN",
    peer="tells_its_address",
    seen={"echo": "hello", "end": "in order"},
)
def known_on_accepted(world: World) -> Iterator[tuple[Any, ...]]:
    with world.listener() as listener:
        world.tell(listener.getsockname()[1])
        s, _ = listener.accept()
        world.wait()
        yield "version", s.getsockopt(TLS, VERSION) == world.version, True
        yield "cipher", string(s, CIPHER) in string(s, TRUSTED_CIPHERS).split(":"), True
        yield "resumed", s.getsockopt(TLS, RESUMED), 0
        yield "on the listener", outcome(listener.getsockopt, TLS, VERSION), "ENOTCONN"
        yield "heard", serve(s), "hello"


def tightened(world: World, low: int, high: int) -> Iterator[tuple[Any, ...]]:
    fits = low <= (world.version or 0) <= high
    with world.client() as s:
        s.setsockopt(TLS, VERSION_MIN, low)
        s.setsockopt(TLS, VERSION_MAX, high)
        yield "connect", outcome(s.connect, world.peer), "ok" if fits else "EPROTO"
        if fits:
            yield "version", s.getsockopt(TLS, VERSION) == world.version, True
            yield "echo", talk(s), "hello"
        else:
            yield "TLS_ERROR", string(s, ERROR) != "", True


for _low, _high, _peer in (
    (TLS_1_2, TLS_1_2, "echoes_or_refuses"),
    (TLS_1_3, TLS_1_3, "echoes_or_refuses"),
    (TLS_1_2, TLS_1_3, "echoes_or_refuses"),
):
    behaviour(
        f"versions.{_low:#06x}-to-{_high:#06x}",
        f"With TLS_VERSION_MIN {_low:#06x} and TLS_VERSION_MAX {_high:#06x} a peer of another version is EPROTO.",
        "1 TLS_VERSION_MIN",
        peer=_peer,
        arguments={"low": _low, "high": _high},
    )(tightened)


@behaviour(
    "versions.none-left",
    "A lowest version above the highest one is EPROTO at connect.",
    "1 TLS_VERSION_MIN",
    versions=(TLS_1_3,),
)
def none_left(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setsockopt(TLS, VERSION_MIN, TLS_1_3)
        s.setsockopt(TLS, VERSION_MAX, TLS_1_2)
        yield "connect", outcome(s.connect, world.nowhere), "EPROTO"
        yield "TLS_ERROR says so", "no version is left" in string(s, ERROR), True


@behaviour(
    "versions.of-a-server",
    "A server's TLS_VERSION_MIN and TLS_VERSION_MAX are what its peers may speak.",
    "1 TLS_VERSION_MIN",
    peer="asks_with_versions",
    seen={"versions": ["refused", "TLSv1.3"]},
    versions=(TLS_1_3,),
)
def of_a_server(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        listener.setsockopt(TLS, VERSION_MIN, TLS_1_3)
        listening(listener, world)
        s, _ = listener.accept()
        yield "version", s.getsockopt(TLS, VERSION), TLS_1_3
        serve(s)


@behaviour(
    "ciphers.disabled",
    "A cipher that was disabled is in no list and not chosen; enabled again, it is.",
    "1 TLS_DISABLE_CIPHER",
    peer="echoes_again_and_again",
    peer_arguments={"count": 3},
)
def disabled(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.connect(world.peer)
        first = string(s, CIPHER)
        talk(s)
    with world.client() as s:
        whole = string(s, TRUSTED_CIPHERS)
        yield "disable", outcome(s.setsockopt, TLS, DISABLE_CIPHER, text(first)), "ok"
        yield "in force", first in string(s, TRUSTED_CIPHERS).split(":"), False
        s.connect(world.peer)
        yield "another one is chosen", string(s, CIPHER) not in {"", first}, True
        yield "echo", talk(s), "hello"
    with world.client() as s:
        s.setsockopt(TLS, DISABLE_CIPHER, text(first))
        yield "enable", outcome(s.setsockopt, TLS, ENABLE_CIPHER, text(first)), "ok"
        yield "in force again", string(s, TRUSTED_CIPHERS) == whole, True
        s.connect(world.peer)
        yield "chosen again", string(s, CIPHER) == first, True
        yield "echo again", talk(s), "hello"


@behaviour(
    "ciphers.none-left",
    "A socket that has disabled every cipher of a version speaks the other one; without any, connect is EPROTO.",
    "1 TLS_DISABLE_CIPHER",
    peer="echoes_or_refuses",
)
def no_cipher_left(world: World) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        for cipher in string(s, TRUSTED_CIPHERS).split(":"):
            if cipher.startswith("TLS_") == (world.version == TLS_1_2):
                s.setsockopt(TLS, DISABLE_CIPHER, text(cipher))
        yield "connect", outcome(s.connect, world.peer), "ok"
        yield "version", s.getsockopt(TLS, VERSION) == world.version, True
        yield "echo", talk(s), "hello"
    with world.client() as s:
        for cipher in string(s, TRUSTED_CIPHERS).split(":"):
            s.setsockopt(TLS, DISABLE_CIPHER, text(cipher))
        yield "none left", outcome(s.connect, world.nowhere), "EPROTO"


@behaviour(
    "ciphers.of-a-server",
    "A server does not choose a cipher that it has disabled.",
    "1 TLS_DISABLE_CIPHER",
    peer="connects_when_told",
    peer_arguments={"count": 2},
)
def ciphers_of_a_server(world: World) -> Iterator[tuple[Any, ...]]:
    def chosen(*without: str) -> str:
        with world.with_credentials() as listener:
            for cipher in without:
                listener.setsockopt(TLS, DISABLE_CIPHER, text(cipher))
            listening(listener, world)
            s, _ = listener.accept()
            cipher = string(s, CIPHER)
            serve(s)
            return cipher

    first = chosen()
    yield "another one", chosen(first) not in {"", first}, True


def offers(world: World, names: str, selected: str) -> Iterator[tuple[Any, ...]]:
    with world.client() as s:
        s.setsockopt(TLS, ALPN, text(names))
        yield "offered", string(s, ALPN), names
        s.connect(world.peer)
        yield "selected", string(s, ALPN), selected
        yield "echo", talk(s), "hello"


for _name, _offered, _known, _selected, _sentence in (
    ("selected", "h2,http/1.1", ("http/1.1",), "http/1.1", "After connect TLS_ALPN is the protocol that was selected."),
    ("no-overlap", "h2", ("http/1.1",), "", "Where the server knows none of the protocols offered, TLS_ALPN is empty."),
    ("not-spoken", "h2", (), "", "Where the server speaks no ALPN, TLS_ALPN is empty."),
):
    behaviour(
        f"alpn.{_name}",
        _sentence,
        "1 TLS_ALPN",
        peer="echoes_with",
        peer_arguments={"certificate": "server", "alpn": _known},
        seen={"alpn": _selected or None},
        arguments={"names": _offered, "selected": _selected},
    )(offers)


def selects(world: World, selected: str) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        listener.setsockopt(TLS, ALPN, text("h2,http/1.1"))
        listening(listener, world)
        s, _ = listener.accept()
        yield "selected", string(s, ALPN), selected
        yield "heard", serve(s), "hello"


for _name, _wanted, _selected, _sentence in (
    ("order", ("http/1.1", "h2"), "h2", "A server selects in its own order of preference."),
    ("not-offered", (), "", "A client that offers no protocol is accepted, and TLS_ALPN is empty."),
):
    behaviour(
        f"alpn.server.{_name}",
        _sentence,
        "1 TLS_ALPN",
        peer="asks_with_alpn",
        peer_arguments={"names": _wanted},
        seen={"selected": _selected or None},
        arguments={"selected": _selected},
    )(selects)


@behaviour(
    "alpn.server.no-overlap",
    "A client that offers only protocols that the server does not know is refused (RFC 7301 section 3.2).",
    "1 TLS_ALPN",
    peer="tries_and_fails",
    peer_arguments={"certificate": None, "alpn": ("spdy/1",)},
    seen={"refused": True, "echo": "hello"},
)
def no_overlap(world: World) -> Iterator[tuple[Any, ...]]:
    with world.with_credentials() as listener:
        listener.setsockopt(TLS, ALPN, text("h2,http/1.1"))
        listening(listener, world)
        s, _ = listener.accept()
        yield "the other one's", string(s, ALPN), ""
        yield "heard", serve(s), "hello"
