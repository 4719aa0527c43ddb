"""The name is part of the handshake: after one that succeeds, the peer's certificate was for it.

Which names a certificate is for, in all their variety, is compared with OpenSSL in ``tests/differential``.
"""

from __future__ import annotations

import errno
from functools import cache

import pytest
import trustme

from ssa_impl.errors import ApplicationError, CertificateError
from ssa_impl.policy.contexts import context_for
from ssa_impl.tls.engine import Engine
from tests.ssa_impl.outcomes import outcome
from tests.ssa_impl.tls import peers

NAMES = ("server.ssa.test", "*.wild.test", "127.0.0.1", "2001:db8::1", "UPPER.test")


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def meet(name: str, *names: str, common_name: str | None = None, version: str = "1.3") -> bytes:
    """Ask a peer with these names for ``name``; return what the engine says to a peer that it refuses, else nothing."""
    context = peers.server_context(version)
    authority().issue_cert(*names, common_name=common_name).configure_cert(context)
    made = peers.settings(name, anchors_pem=authority().cert_pem.bytes())
    engine = Engine(context_for(made), made)
    _, refusal = outcome(peers.shake_hands, engine, peers.MemoryPeer(context))
    if refusal is None:
        return b""
    assert (type(refusal), refusal.errno) == (CertificateError, errno.EPROTO)
    assert refusal.text == f"the peer's certificate is not for {name}"
    return peers.everything(engine)


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
def test_names_of_the_certificate(name: str) -> None:
    assert meet(name, *NAMES) == b""


@pytest.mark.parametrize(
    "name",
    ["ssa.test", "x.server.ssa.test", "server.ssa.tes", "wild.test", "a.b.wild.test", "127.0.0.2", "::1", "localhost"],
)
def test_other_names(name: str) -> None:
    assert meet(name, *NAMES)


def test_a_peer_that_is_refused_is_told_why() -> None:
    """RFC 5246 section 7.2.2: bad_certificate, in the clear in this version."""
    assert meet("other.test", *NAMES, version="1.2") == bytes([21, 3, 3, 0, 2, 2, 42])


def test_one_context_serves_many_names() -> None:
    for name in ("a.wild.test", "::1", "server.ssa.test"):
        assert bool(meet(name, *NAMES)) is (name == "::1")
        assert meet(name, name) == b""


def test_a_common_name_is_no_name() -> None:
    """RFC 9525 section 2: subjects are not looked at."""
    assert meet("server.ssa.test", "other.test", common_name="server.ssa.test")


def test_a_name_that_no_certificate_can_be_for() -> None:
    with pytest.raises(ApplicationError, match="no certificate can be for _") as caught:
        peers.new_engine("_")
    assert caught.value.errno == errno.EPROTO
