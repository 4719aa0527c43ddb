"""The name check: after a real handshake, against real certificates."""

from __future__ import annotations

import errno

import pytest
import trustme

from ssa_impl.errors import PeerError
from ssa_impl.policy.contexts import context_for
from ssa_impl.tls.engine import Engine
from ssa_impl.validation.hostname import check_name
from tests.ssa_impl.tls import peers

NAMES = ("server.ssa.test", "*.wild.test", "127.0.0.1", "2001:db8::1", "UPPER.test")


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine whose peer has a certificate for NAMES."""
    ca = trustme.CA()
    context = peers.server_context()
    ca.issue_cert(*NAMES).configure_cert(context)
    made = peers.settings(anchors_pem=ca.cert_pem.bytes())
    engine = Engine(context_for(made), made)
    peers.shake_hands(engine, peers.MemoryPeer(context))
    return engine


@pytest.mark.parametrize(
    "name",
    [
        "server.ssa.test",
        "server.ssa.test.",
        "SERVER.ssa.TEST",
        "a.wild.test",
        "upper.test",
        "127.0.0.1",
        "2001:db8::1",
        "2001:0DB8:0::1",
    ],
)
def test_names_of_the_certificate(engine: Engine, name: str) -> None:
    check_name(engine.connection, name)


@pytest.mark.parametrize(
    "name",
    [
        "ssa.test",
        "x.server.ssa.test",
        "server.ssa.tes",
        "wild.test",
        "a.b.wild.test",
        "127.0.0.2",
        "::1",
        "127.0.0.1.",
        "1",
        "localhost",
        "a_b",
    ],
)
def test_other_names(engine: Engine, name: str) -> None:
    with pytest.raises(PeerError) as caught:
        check_name(engine.connection, name)
    assert caught.value.errno == errno.EPROTO
    assert caught.value.text


def test_verdicts_do_not_leak_from_one_certificate_to_another(engine: Engine) -> None:
    other, peer = peers.connected()
    check_name(engine.connection, "a.wild.test")
    check_name(other.connection, "::1")
    with pytest.raises(PeerError):
        check_name(other.connection, "a.wild.test")
    with pytest.raises(PeerError):
        check_name(engine.connection, "::1")
    assert peer.ready


def test_a_common_name_is_no_name() -> None:
    """RFC 9525 section 6.3: subjects are not looked at."""
    ca = trustme.CA()
    context = peers.server_context()
    ca.issue_cert("other.test", common_name="server.ssa.test").configure_cert(context)
    made = peers.settings(anchors_pem=ca.cert_pem.bytes())
    engine = Engine(context_for(made), made)
    peers.shake_hands(engine, peers.MemoryPeer(context))
    with pytest.raises(PeerError):
        check_name(engine.connection, "server.ssa.test")


def test_before_a_handshake_there_is_nothing_to_check() -> None:
    with pytest.raises(PeerError, match="no certificate"):
        check_name(peers.new_engine().connection, "server.ssa.test")
