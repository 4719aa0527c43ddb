"""Sessions: what is kept and for how long, and that both roles resume what may be resumed and nothing else."""

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
from ssa_impl.tls.sessions import DIGEST_BYTES, Resumable, SessionCache, digest
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

# -- the cache


def test_the_newest_session_of_a_key_comes_first_and_each_comes_once() -> None:
    cache = SessionCache()
    for number in range(3):
        cache.keep(b"key", b"%d" % number, 10)
    assert [cache.take(b"key", 0) for _ in range(4)] == [b"2", b"1", b"0", b""]


def test_keys_do_not_share() -> None:
    cache = SessionCache()
    cache.keep(b"mine", b"session", 10)
    assert cache.take(b"other", 0) == b""
    assert cache.take(b"mine", 0) == b"session"


@pytest.mark.parametrize(("now_s", "given"), [(9.9, b"session"), (10, b""), (11, b"")])
def test_a_session_is_good_until_its_time(now_s: float, given: bytes) -> None:
    cache = SessionCache()
    cache.keep(b"key", b"session", 10)
    assert cache.take(b"key", now_s) == given


def test_one_that_has_ended_does_not_hide_one_that_has_not() -> None:
    cache = SessionCache()
    cache.keep(b"key", b"long", 100)
    cache.keep(b"key", b"short", 10)
    assert cache.take(b"key", 50) == b"long"


def test_the_newest_few_of_a_key_are_kept() -> None:
    cache = SessionCache()
    for number in range(1000):
        cache.keep(b"key", b"%d" % number, 10)
    taken = list(iter(lambda: cache.take(b"key", 0), b""))
    assert 1 < len(taken) < 100
    assert taken == [b"%d" % number for number in range(999, 999 - len(taken), -1)]


def test_the_keys_that_were_used_last_are_kept() -> None:
    cache, count = SessionCache(), 20_000
    for number in range(count):
        cache.keep(b"%d" % number, b"session", 10)
        cache.keep(b"favourite", b"session", 10)
    kept = [number for number in range(count) if cache.take(b"%d" % number, 0)]
    assert 1000 < len(kept) < 10_000
    assert kept == list(range(count - len(kept), count))
    assert cache.take(b"favourite", 0) == b"session"


def test_a_key_that_is_used_again_stays_with_all_its_sessions() -> None:
    room = len(fill(SessionCache(), 20_000))
    cache = SessionCache()
    cache.keep(b"favourite", b"old", 10)
    for number in range(room - 10):
        cache.keep(b"%d" % number, b"session", 10)
    cache.keep(b"favourite", b"new", 10)
    for number in range(room, room + 100):
        cache.keep(b"%d" % number, b"session", 10)
    assert [cache.take(b"favourite", 0) for _ in range(2)] == [b"new", b"old"]


def test_large_sessions_are_fewer() -> None:
    """Peers say how large they are; what is taken out or replaced makes room again."""
    cache, mib = SessionCache(), bytes(1 << 20)
    for number in range(100):
        cache.keep(b"%d" % number, mib, 1)
    assert [number for number in range(100) if cache.take(b"%d" % number, 0)] == list(range(36, 100))
    for _ in range(1000):
        cache.keep(b"again", mib, 1)
    for number in range(56):
        cache.keep(b"%d" % number, mib, 1)
    assert sum(bool(cache.take(b"%d" % number, 0)) for number in range(56)) == 56
    assert cache.take(b"again", 0)


def fill(cache: SessionCache, count: int) -> list[int]:
    """Keep a session for each number; return those that are still there."""
    for number in range(count):
        cache.keep(b"%d" % number, b"session", 10)
    return [number for number in range(count) if cache.take(b"%d" % number, 0)]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.booleans()), max_size=60))
def test_nothing_is_given_twice_late_or_to_another(calls: list[tuple[int, int, bool]]) -> None:
    cache, kept = SessionCache(), {}
    for now_s, (key, lasting_s, keeping) in enumerate(calls):
        name = b"%d" % key
        if keeping:
            kept[b"%d" % now_s] = (name, now_s + lasting_s)
            cache.keep(name, b"%d" % now_s, now_s + lasting_s)
        elif session := cache.take(name, now_s):
            owner, until_s = kept.pop(session)
            assert owner == name
            assert now_s < until_s


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
