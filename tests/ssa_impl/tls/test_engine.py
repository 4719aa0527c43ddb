"""The engine against the standard library's TLS: handshake, data, ends."""

from __future__ import annotations

import contextlib
import os
import ssl

import pytest

from ssa_impl.errors import PeerError, TruncationError
from ssa_impl.policy.model import Profile
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME, authority
from tests.ssa_impl.tls.peers import (
    MemoryPeer,
    connected,
    everything,
    new_engine,
    pieces,
    read_all,
    server_context,
    shake_hands,
)

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
KEYS = pytest.mark.parametrize("rsa", [False, True], ids=["ecdsa", "rsa"])


@VERSIONS
@KEYS
def test_handshake_says_what_was_agreed(version: str, rsa: bool) -> None:
    engine, peer = new_engine(), MemoryPeer(server_context(version, rsa=rsa))
    shake_hands(engine, peer)
    agreed = engine.negotiated()
    cipher = peer.tls.cipher()
    assert cipher is not None
    assert agreed.cipher == cipher[0]
    assert agreed.version == {"1.2": 0x0303, "1.3": 0x0304}[version]
    assert agreed.group
    assert agreed.alpn == ""
    assert agreed.resumed is False
    sent = b"".join(part.bytes() for part in authority().credentials(rsa=rsa).cert_chain_pems)
    assert agreed.peer_chain_pem.encode().split() == sent.split()
    assert "O=trustme" in agreed.peer_identity


@VERSIONS
@KEYS
def test_byte_by_byte(version: str, rsa: bool) -> None:
    engine, peer = new_engine(), MemoryPeer(server_context(version, rsa=rsa))
    shake_hands(engine, peer, size=1)
    peer.write(b"hello")
    peer.close()
    got = b""
    for byte in pieces(peer.output(), 1):
        engine.receive(byte)
        got += read_all(engine)
    assert got == b"hello"
    assert engine.peer_closed


@VERSIONS
def test_large_data_both_ways(version: str) -> None:
    engine, peer = connected(server_context(version))
    down, up = os.urandom(3_000_000), os.urandom(3_000_000)
    engine.write(up)
    peer.write(down)
    peer.receive(everything(engine))
    assert peer.read() == up
    engine.receive(peer.output())
    assert read_all(engine) == down


@VERSIONS
@pytest.mark.parametrize("room_bytes", [1, 7, 16_384, 16_385])
def test_a_small_room_loses_nothing(version: str, room_bytes: int) -> None:
    engine, peer = connected(server_context(version))
    data = os.urandom(40_000 if room_bytes > 100 else 400)
    peer.write(data)
    engine.receive(peer.output())
    assert read_all(engine, room_bytes) == data


def test_a_read_never_gives_more_than_there_is_room_for() -> None:
    engine, peer = connected()
    peer.write(b"x" * 100)
    engine.receive(peer.output())
    room = memoryview(bytearray(60))
    assert engine.read_into(room) == 60
    assert engine.read_into(room) == 40
    assert engine.read_into(room) == 0


def test_many_tiny_records_are_read_in_one_go() -> None:
    engine, peer = connected()
    for number in range(3000):
        peer.write(bytes([number % 256]))
    engine.receive(peer.output())
    room = memoryview(bytearray(10_000))
    assert engine.read_into(room) == 3000
    assert bytes(room[:3000]) == bytes(number % 256 for number in range(3000))


@VERSIONS
def test_words_that_come_with_the_end_of_the_handshake_are_there_at_once(version: str) -> None:
    engine, peer = new_engine(), MemoryPeer(server_context(version))
    engine.handshake()
    peer.receive(everything(engine))
    engine.receive(peer.output())
    engine.handshake()
    peer.receive(everything(engine))
    peer.write(b"220 ready")
    engine.receive(peer.output())
    assert engine.handshake()
    assert read_all(engine) == b"220 ready"


@VERSIONS
def test_close_notify_ends_one_direction_only(version: str) -> None:
    engine, peer = connected(server_context(version))
    engine.write(b"last words")
    engine.close()
    peer.receive(everything(engine))
    assert peer.read() == b"last words"
    assert peer.closed
    assert not engine.peer_closed


@VERSIONS
def test_the_peers_close_notify_is_an_end_and_the_engine_may_still_speak(version: str) -> None:
    engine, peer = connected(server_context(version))
    peer.write(b"bye")
    peer.close()
    engine.receive(peer.output())
    assert read_all(engine) == b"bye"
    assert engine.peer_closed
    engine.write(b"still here")
    engine.close()
    assert everything(engine)


def test_what_follows_a_close_notify_does_not_exist() -> None:
    engine, peer = connected()
    peer.close()
    engine.receive(peer.output() + b"garbage after the end")
    engine.receive(None)
    assert read_all(engine) == b""
    assert engine.peer_closed


@VERSIONS
def test_truncation_is_an_error_after_what_did_arrive(version: str) -> None:
    engine, peer = connected(server_context(version))
    peer.write(b"half of it")
    engine.receive(peer.output())
    engine.receive(None)
    room = memoryview(bytearray(100))
    assert engine.read_into(room) == 10
    with pytest.raises(TruncationError, match="close_notify"):
        engine.read_into(room)
    assert not engine.peer_closed


@VERSIONS
@pytest.mark.parametrize("cut", [1, 4, 5, 6, 20])
def test_truncation_inside_a_record(version: str, cut: int) -> None:
    engine, peer = connected(server_context(version))
    peer.output()
    peer.write(b"half of it")
    engine.receive(peer.output()[:cut])
    engine.receive(None)
    with pytest.raises(TruncationError):
        read_all(engine)


def test_truncation_may_be_allowed_by_the_policy() -> None:
    engine, peer = new_engine(profile=Profile(truncation_allowed=True)), MemoryPeer()
    shake_hands(engine, peer)
    peer.write(b"all of it")
    engine.receive(peer.output())
    engine.receive(None)
    assert read_all(engine) == b"all of it"
    assert engine.peer_closed


def test_end_of_the_wire_during_the_handshake() -> None:
    engine, peer = new_engine(), MemoryPeer()
    assert not engine.handshake()
    peer.receive(everything(engine))
    engine.receive(peer.output()[:-1])
    assert not engine.handshake()
    engine.receive(None)
    with pytest.raises(PeerError, match="closed the connection during the handshake"):
        engine.handshake()


def test_closing_in_the_middle_of_a_handshake_is_silent() -> None:
    engine = new_engine()
    engine.handshake()
    everything(engine)
    engine.close()
    assert everything(engine) == b""


def _server_name(hostname: str) -> str | None:
    seen: list[str | None] = []
    context = server_context()
    context.sni_callback = lambda tls, name, context: seen.append(name)
    engine = new_engine(hostname)
    engine.handshake()
    MemoryPeer(context).receive(everything(engine))
    (name,) = seen
    return name


def test_the_hostname_is_sent_as_sni() -> None:
    assert _server_name("a.example.com") == "a.example.com"


def test_sni_has_no_trailing_dot() -> None:
    assert _server_name("a.example.com.") == "a.example.com"  # RFC 6066 section 3


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_address_is_no_sni(address: str) -> None:
    assert _server_name(address) is None


@pytest.mark.parametrize(
    ("offered", "known", "selected"),
    [(("h2", "http/1.1"), ["http/1.1"], "http/1.1"), (("h2",), ["h2", "x"], "h2"), ((), ["h2"], ""), (("h2",), [], "")],
)
def test_alpn(offered: tuple[str, ...], known: list[str], selected: str) -> None:
    context = server_context()
    if known:
        context.set_alpn_protocols(known)
    engine, peer = new_engine(alpn=offered), MemoryPeer(context)
    shake_hands(engine, peer)
    assert engine.negotiated().alpn == selected


@pytest.mark.parametrize(("server", "low", "high"), [("1.2", 0x0304, None), ("1.3", None, 0x0303)])
def test_versions_are_kept_to(server: str, low: int | None, high: int | None) -> None:
    engine = new_engine(version_min=low, version_max=high)
    assert _failure(engine, MemoryPeer(server_context(server)))


def _failure(engine: Engine, peer: MemoryPeer) -> str:
    """Run a handshake that must fail on the engine's side; return the reason."""
    engine.handshake()
    with pytest.raises(PeerError) as caught:  # noqa: PT012
        for _ in range(5):
            with contextlib.suppress(ssl.SSLError):  # its alert is in its output
                peer.receive(everything(engine))
            engine.receive(peer.output())
            engine.handshake()
    return caught.value.text


@VERSIONS
@pytest.mark.parametrize(
    ("fault", "reason"),
    [("expired", "certificate has expired"), ("untrusted", "unable to get local issuer certificate")],
)
def test_a_bad_chain_fails_the_handshake_and_the_peer_is_told(version: str, fault: str, reason: str) -> None:
    engine, peer = new_engine(), MemoryPeer(server_context(version, fault))
    assert reason in _failure(engine, peer)
    with pytest.raises(ssl.SSLError, match="ALERT"):
        peer.receive(everything(engine))


def test_without_anchors_of_its_own_an_engine_trusts_the_system_only() -> None:
    assert "certificate verify failed" in _failure(new_engine(anchors_pem=None), MemoryPeer())


def test_each_engine_has_its_own_verdict() -> None:
    good, bad = new_engine(), new_engine()  # of one shared context
    assert "expired" in _failure(bad, MemoryPeer(server_context(fault="expired")))
    shake_hands(good, MemoryPeer())
    assert NAME
