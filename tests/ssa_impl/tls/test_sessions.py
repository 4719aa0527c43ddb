"""Sessions: what they are kept under, and that both roles resume what may be resumed and nothing else."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Profile, Request, Settings
from ssa_impl.policy.resolve import resolve
from ssa_impl.tls.engine import Engine
from ssa_impl.tls.sessions import DIGEST_BYTES, Resumable, digest
from tests.certificates import NAME
from tests.ssa_impl.credentials import anchors, issued
from tests.ssa_impl.tls.peers import (
    ONLY,
    MemoryClient,
    MemoryPeer,
    acceptor_settings,
    client_context,
    everything,
    read_all,
    shake_hands,
)

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


@given(st.binary(), st.binary())
def test_a_session_travels_as_bytes(session: bytes, chain: bytes) -> None:
    made = Resumable(session, chain)
    assert Resumable.from_bytes(made.to_bytes()) == made


# -- what sessions are kept under


ADDRESS = ("127.0.0.1", 443)
WANTED = Request(NAME, anchors(), session_reuse=True, alpn=("h2",))


def settled(request: Request = WANTED, profile: Profile = Profile()) -> Settings:  # noqa: B008
    return resolve(profile, request)


def test_equal_connections_have_equal_keys() -> None:
    assert digest((1000, "/bin/a"), ADDRESS, settled()) == digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED)))
    assert len(digest(7, ADDRESS, settled())) == DIGEST_BYTES


CIPHER = Profile().ciphers[0]


@pytest.mark.parametrize(
    "other",
    [
        digest((1001, "/bin/a"), ADDRESS, settled()),
        digest((1000, "/bin/b"), ADDRESS, settled()),
        digest(1000, ADDRESS, settled()),
        digest((1000, "/bin/a"), ("127.0.0.2", 443), settled()),
        digest((1000, "/bin/a"), ("127.0.0.1", 444), settled()),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, hostname="other.test"))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, anchors_pem=anchors() + b"\n"))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, anchors_pem=None))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, alpn=("h2", "x")))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, version_min=0x0304))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, disabled_ciphers=frozenset({CIPHER})))),
        digest((1000, "/bin/a"), ADDRESS, settled(replace(WANTED, identities=(issued("client.test").identity,)))),
        digest((1000, "/bin/a"), ADDRESS, settled(WANTED, Profile(verify_depth=3))),
    ],
    ids=[
        "user",
        "program",
        "scope",
        "address",
        "port",
        "name",
        "anchors",
        "system",
        "alpn",
        "version",
        "cipher",
        "identity",
        "depth",
    ],
)
def test_a_connection_that_differs_in_anything_has_another_key(other: bytes) -> None:
    assert other != digest((1000, "/bin/a"), ADDRESS, settled())


# -- the engine as initiator


def server(version: str, *, tickets: bool = True) -> ssl.SSLContext:
    context = issued(deep=True).load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.minimum_version = context.maximum_version = ONLY[version]
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def visit(context: ssl.SSLContext, earlier: Resumable | None = None) -> Engine:
    """Connect, hear a word (in TLS 1.3 tickets come after the handshake), and part in order."""
    made = settled(Request(NAME, anchors(), session_reuse=True))
    engine, peer = Engine(context_for(made), made, earlier), MemoryPeer(context)
    shake_hands(engine, peer)
    peer.write(b"word")
    peer.close()
    engine.receive(peer.output())
    assert read_all(engine) == b"word"
    return engine


@VERSIONS
def test_an_initiator_resumes_what_it_kept(version: str) -> None:
    context = server(version)
    first = visit(context)
    assert not first.negotiated().resumed
    kept = first.session()
    assert kept is not None
    second = visit(context, Resumable.from_bytes(kept.to_bytes()))
    assert second.negotiated().resumed
    third = visit(context, second.session())
    assert third.negotiated().resumed


@VERSIONS
def test_a_resumed_connection_knows_its_peer_as_well_as_a_full_one(version: str) -> None:
    context = server(version)
    first = visit(context)
    second = visit(context, first.session())
    third = visit(context, second.session())
    assert third.negotiated().resumed
    assert first.negotiated().peer_chain_pem is not None
    assert x509.load_pem_x509_certificates(first.negotiated().peer_chain_pem.encode()) == (
        x509.load_pem_x509_certificates(issued(deep=True).chain)
    )
    for later in (second, third):
        assert later.negotiated().peer_identity == first.negotiated().peer_identity
        assert later.negotiated().peer_chain_pem == first.negotiated().peer_chain_pem
        assert later.negotiated().server_name == NAME


@VERSIONS
def test_a_peer_that_does_not_know_the_session_any_more_gets_a_full_handshake(version: str) -> None:
    engine = visit(server(version), visit(server(version)).session())
    assert not engine.negotiated().resumed
    assert engine.negotiated().peer_chain_pem is not None


def test_in_tls_1_2_a_session_without_a_ticket_is_resumed_by_its_number() -> None:
    context = server("1.2", tickets=False)
    assert visit(context, visit(context).session()).negotiated().resumed


@given(st.binary(max_size=200))
def test_any_bytes_for_a_session_are_a_full_handshake(data: bytes) -> None:
    assert not visit(server("1.3"), Resumable(data, b"")).negotiated().resumed


# -- the engine as acceptor


def receive_visit(
    settings: Settings, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[Engine, MemoryClient]:
    """Serve a client of the standard library, which takes its tickets along."""
    engine, client = Engine(context_for(settings), settings), MemoryClient(context, session=session)
    shake_hands(engine, client)
    engine.write(b"word")
    client.receive(everything(engine))
    assert client.read() == b"word"
    return engine, client


@VERSIONS
@pytest.mark.parametrize("names", [(), (NAME,)], ids=["any name", "our name"])
def test_an_acceptor_lets_clients_resume(version: str, names: tuple[str, ...]) -> None:
    made, context = acceptor_settings(session_reuse=True, server_names=names), client_context(version)
    first, client = receive_visit(made, context)
    assert not first.negotiated().resumed
    second, again = receive_visit(made, context, client.tls.session)
    assert second.negotiated().resumed
    assert again.tls.session_reused
    assert second.negotiated().server_name == NAME


@VERSIONS
@pytest.mark.parametrize("request_", [{}, {"session_reuse": True, "session_ttl_s": 0}], ids=["not asked", "ttl 0"])
def test_an_acceptor_that_was_not_told_to_resumes_nothing(version: str, request_: dict[str, object]) -> None:
    made, context = acceptor_settings(**request_), client_context(version)  # type: ignore[arg-type]
    _, client = receive_visit(made, context)
    session = client.tls.session  # in TLS 1.3 there is a ticket all the same
    assert not receive_visit(made, context, session)[0].negotiated().resumed


@VERSIONS
def test_a_session_of_other_settings_is_not_resumed(version: str) -> None:
    context = client_context(version)
    _, client = receive_visit(acceptor_settings(session_reuse=True), context)
    other = acceptor_settings(issued(is_rsa=True).identity, session_reuse=True)
    assert not receive_visit(other, context, client.tls.session)[0].negotiated().resumed


@VERSIONS
def test_a_client_that_was_authenticated_is_known_again(version: str) -> None:
    presented = issued("client.test", common_name="a client")
    made = acceptor_settings(session_reuse=True, request_peer_auth=True)
    context = client_context(version, presenting=presented)
    first, client = receive_visit(made, context)
    second, _ = receive_visit(made, context, client.tls.session)
    assert second.negotiated().resumed
    assert second.negotiated().peer_identity == first.negotiated().peer_identity is not None
    leaves = [engine.negotiated().peer_chain[0].to_cryptography() for engine in (first, second)]
    assert leaves[0] == leaves[1]


@VERSIONS
def test_a_session_without_a_certificate_is_no_way_around_one(version: str) -> None:
    context = client_context(version)
    _, client = receive_visit(acceptor_settings(session_reuse=True), context)
    asking = acceptor_settings(session_reuse=True, request_peer_auth=True)
    engine = Engine(context_for(asking), asking)
    with pytest.raises(Exception, match="peer did not return a certificate"):
        shake_hands(engine, MemoryClient(context, session=client.tls.session))
