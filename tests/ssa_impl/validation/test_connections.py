"""Connections under a validation: the verdict comes before anybody is told of success, in both roles."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import trio
from OpenSSL import SSL

from ssa_impl.abi import Opt
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Profile, Request
from ssa_impl.policy.resolve import resolve
from ssa_impl.sockets.addresses import build_sockaddr
from ssa_impl.tls.engine import Engine
from ssa_impl.validation.model import Validation
from ssa_impl.validation.table import validation_from_table
from tests.certificates import NAME, authority
from tests.ssa_impl.credentials import anchors, issued
from tests.ssa_impl.daemon.sessions import Booth, Peer, Visitor, call, play, so_error, text
from tests.ssa_impl.daemon.test_accepting import equip, listening, part, talk
from tests.ssa_impl.daemon.test_session import connected, finish
from tests.ssa_impl.tls.peers import client_context, server_context
from tests.ssa_impl.validation import pki
from tests.ssa_impl.validation.web import web

TRUST = "trust-store-and-hostname"
BOTH = pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
ON = struct.pack("=i", 1)


def profile(table: dict[str, object], **fields: object) -> Profile:
    made = validation_from_table(table)
    assert isinstance(made, Validation), made
    return Profile(name="governed", validation=made, **fields)  # type: ignore[arg-type]


def allowing(*names: str) -> Profile:
    return profile({"necessary": [TRUST, "allow-list"], "allow-list": {"names": list(names)}})


def fingerprint(fault: str = "") -> str:
    from cryptography import x509

    chain = authority().credentials(fault).cert_chain_pems[0].bytes()
    return x509.load_pem_x509_certificate(chain).fingerprint(pki.hashes.SHA256()).hex()


async def refused(booth: Booth, sockaddr: bytes, *, blocking: bool) -> str:
    """Try to connect, in vain; return TLS_ERROR."""
    failed = await booth.connect(sockaddr, blocking=blocking)
    if not blocking:
        assert failed == errno.EINPROGRESS
        await trio.lowlevel.wait_readable(booth.application)
        failed = await so_error(booth)
    assert failed == errno.EPROTO
    return await text(booth)


async def heard_nothing(visitor: Visitor) -> None:
    """The peer's connection ends without a byte for it."""
    with contextlib.suppress(ConnectionResetError, EOFError):
        assert await visitor.hear(1) == b""
    visitor.connection.close()


@BOTH
def test_a_peer_that_all_accept(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await finish(booth, await connected(booth, peer, blocking=blocking))

    play(scene, profile=allowing("*.ssa.test"))


@BOTH
def test_a_peer_that_one_rejects(blocking: bool) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        said = ""

        async def try_to_connect() -> None:
            nonlocal said
            said = await refused(booth, peer.sockaddr, blocking=blocking)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_to_connect)
            visitor = await peer.shake_hands()  # the peer's side of the handshake is complete
        assert said == f"the peer was refused: allow-list rejects it: {NAME} is not on the list"
        await heard_nothing(visitor)

    play(scene, profile=allowing("elsewhere.test"), context=server_context("1.2"))


VOTING = {
    "voting": [TRUST, "allow-list", "pinning"],
    "threshold_percent": 50,
    "pinning": {"pins": {"elsewhere.test": ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]}},
}


def test_openssls_verdict_is_one_vote_among_others_where_the_policy_says_so() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await finish(booth, await connected(booth, peer))

    table = VOTING | {"allow-list": {"fingerprints": [fingerprint("untrusted")]}}
    play(scene, profile=profile(table), context=server_context("1.3", "untrusted"))


def test_outvoted() -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        said = ""

        async def try_to_connect() -> None:
            nonlocal said
            said = await refused(booth, peer.sockaddr, blocking=True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_to_connect)
            visitor = await peer.shake_hands()
        await heard_nothing(visitor)
        assert "0 of 2 votes are for it, 50 % are needed; trust-store-and-hostname rejects it: unable to get" in said

    table = VOTING | {"allow-list": {"fingerprints": [fingerprint()]}}
    play(scene, profile=profile(table), context=server_context("1.2", "untrusted"))


@pytest.mark.parametrize("fault", ["name", "untrusted", "expired"])
def test_where_openssl_is_necessary_the_handshake_fails_as_ever(fault: str) -> None:
    async def scene(booth: Booth, peer: Peer) -> None:
        await booth.open()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fails, peer)
            said = await refused(booth, peer.sockaddr, blocking=True)
        assert "refused" not in said

    play(scene, profile=allowing(NAME), context=server_context("1.2", fault))


async def _fails(peer: Peer) -> None:
    with pytest.raises((OSError, EOFError)):
        await peer.shake_hands()


# -- as acceptor


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_clients_certificate_is_judged(version: str) -> None:
    known, unknown = issued("client.ssa.test"), issued("other.ssa.test")

    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth)
        assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, anchors()) == 0
        assert await booth.set(Opt.TLS_REQUEST_PEER_AUTH, ON) == 0
        address = await listening(booth)
        refused = await call(address, client_context(version, presenting=unknown))
        with contextlib.suppress(ConnectionResetError, EOFError):
            await refused.shake_hands()
        await heard_nothing(refused)
        assert not booth.has_peer()
        caller = await call(address, client_context(version, presenting=known))
        await caller.shake_hands()
        accepted = await booth.accept()
        assert not booth.has_peer()
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene, profile=allowing("client.ssa.test"))


def test_a_server_that_asks_for_no_certificate_has_nobody_to_judge() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await equip(booth)
        caller = await call(await listening(booth), client_context())
        await caller.shake_hands()
        accepted = await booth.accept()
        await talk(accepted, caller)
        await part(accepted, caller)

    play(scene, profile=allowing("client.ssa.test"))


# -- revocation as the application switches it on


@contextlib.contextmanager
def server(peer: pki.Credentials, stapled: bytes = b"") -> Iterator[socket.socket]:
    """Serve one TLS connection with pyOpenSSL, which can staple."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(peer.certificate)
    context.use_privatekey(peer.key)
    context.set_ocsp_server_callback(lambda _connection, _data: stapled)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            raw, _ = listener.accept()
            with raw:
                connection = SSL.Connection(context, raw)
                connection.set_accept_state()
                with contextlib.suppress(SSL.Error):
                    connection.do_handshake()
                    connection.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


STATUSES = [(pki.ocsp.OCSPCertStatus.GOOD, 0), (pki.ocsp.OCSPCertStatus.REVOKED, errno.EPROTO)]
ALLOWED = frozenset({Opt.TLS_OCSP_STAPLED_CHECKS, Opt.TLS_OCSP_CHECKS})


async def connect_to(booth: Booth, listener: socket.socket, *options: Opt) -> int:
    await booth.open(NAME)
    assert await booth.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, pki.root().pem) == 0
    for option in options:
        assert await booth.set(option, ON) == 0
    return await booth.connect(build_sockaddr(socket.AF_INET, listener.getsockname()))


async def let_go(booth: Booth) -> None:
    """Close the socket, and wait until the daemon has."""
    booth.close()
    await booth.ended.wait()


@pytest.mark.parametrize(("status", "expected"), STATUSES)
def test_a_server_that_staples(status: pki.ocsp.OCSPCertStatus, expected: int) -> None:
    peer = pki.leaf()

    async def scene(booth: Booth, _peer: Peer) -> None:
        with server(peer, pki.response(peer, status)) as listener:
            assert await connect_to(booth, listener, Opt.TLS_OCSP_STAPLED_CHECKS) == expected
            assert ("revoked at" in await text(booth)) is bool(expected)
            await let_go(booth)

    play(scene, profile=Profile(revocation_sources=ALLOWED))


def test_a_server_that_does_not_staple() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        with server(pki.leaf()) as listener:
            assert await connect_to(booth, listener, Opt.TLS_OCSP_STAPLED_CHECKS) == errno.EPROTO
            said = await text(booth)
        assert said.startswith("the peer was refused: revocation (application) failed: nobody knows whether the")
        assert said.endswith("stapled: the peer sent none")

    play(scene, profile=Profile(revocation_sources=ALLOWED))


@pytest.mark.parametrize(("status", "expected"), STATUSES)
def test_a_responder_is_asked(status: pki.ocsp.OCSPCertStatus, expected: int) -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        async with web() as responder:
            peer = pki.leaf(responder=responder.url)
            responder.say(pki.response(peer, status))
            with server(peer) as listener:
                assert await connect_to(booth, listener, Opt.TLS_OCSP_CHECKS) == expected, await text(booth)
                await let_go(booth)
            assert len(responder.requests) == 1

    table = {"necessary": [TRUST], "revocation": {"private_addresses": True}}
    play(scene, profile=profile(table, revocation_sources=ALLOWED))


def test_a_check_that_the_policy_does_not_have_is_refused() -> None:
    async def scene(booth: Booth, _peer: Peer) -> None:
        await booth.open()
        assert await booth.set(Opt.TLS_CRL_CHECKS, ON) == errno.EPROTO

    play(scene, profile=Profile(revocation_sources=ALLOWED))


def test_validated_connections_are_never_resumed() -> None:
    governed = allowing(NAME)
    assert resolve(governed, Request(NAME, session_reuse=True)).session_ttl_s == 0
    assert resolve(Profile(), Request(NAME, session_reuse=True)).session_ttl_s > 0


def test_without_a_validation_nothing_is_asked_for() -> None:
    settings = resolve(Profile(), Request(NAME))
    engine = Engine(context_for(settings), settings)
    assert not engine.handshake()
    governed = resolve(allowing(NAME), Request(NAME))
    asking = Engine(context_for(governed), governed)
    assert not asking.handshake()
    status_request = b"\x00\x05\x00\x05\x01\x00\x00\x00\x00"
    assert status_request in asking.output()
    assert status_request not in engine.output()
