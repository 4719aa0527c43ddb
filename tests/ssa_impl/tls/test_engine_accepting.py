"""The engine as acceptor, against the standard library's clients: handshake, names, certificates, protocols."""

from __future__ import annotations

import os
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from ssa_impl.errors import PeerError, TruncationError
from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Identity, Profile
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME
from tests.ssa_impl.credentials import issued, new_key, sign_for_itself, stranger
from tests.ssa_impl.tls.peers import (
    MemoryClient,
    MemoryPeer,
    acceptor,
    acceptor_settings,
    client_context,
    everything,
    pieces,
    read_all,
    shake_hands,
)

VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])
KEYS = pytest.mark.parametrize("is_rsa", [False, True], ids=["ecdsa", "rsa"])
ALERTS = {"no_application_protocol": 120, "unrecognized_name": 112, "protocol_version": 70}


def certificates(pem: str | bytes | None) -> list[x509.Certificate]:
    assert pem is not None
    return x509.load_pem_x509_certificates(pem.encode() if isinstance(pem, str) else pem)


class OpenSslClient(MemoryPeer):
    """A client of pyOpenSSL, for what the standard library cannot be told."""

    def __init__(self, context: SSL.Context, name: str | None = None) -> None:
        self.context = context
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()
        if name is not None:
            self.connection.set_tlsext_host_name(name.encode())
        self.ready = False
        self.receive(b"")

    def receive(self, ciphertext: bytes) -> None:
        if ciphertext:
            self.connection.bio_write(ciphertext)
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return
        self.ready = True

    def output(self) -> bytes:
        try:
            return self.connection.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


def refused(engine: Engine, client: MemoryPeer) -> str:
    """Run a handshake that the engine must not complete; return why, and let the client hear of it."""
    with pytest.raises(PeerError) as caught:  # noqa: PT012
        for _ in range(5):
            engine.receive(client.output())
            engine.handshake()
            client.receive(everything(engine))
    return caught.value.text


def alert(engine: Engine) -> int:
    """Return the number of the fatal alert that the engine has to say, in the clear."""
    kind, _, _, _, length, level, number = everything(engine)[-7:]
    assert (kind, length, level) == (21, 2, 2)
    return number


@VERSIONS
@KEYS
def test_handshake_says_what_was_agreed(version: str, is_rsa: bool) -> None:
    made = issued(is_rsa=is_rsa, deep=True)
    engine, client = acceptor(made.identity), MemoryClient(client_context(version))
    shake_hands(engine, client)
    agreed, cipher = engine.negotiated(), client.tls.cipher()
    assert cipher is not None
    assert agreed.cipher == cipher[0]
    assert agreed.version == {"1.2": 0x0303, "1.3": 0x0304}[version]
    assert agreed.group
    assert (agreed.alpn, agreed.resumed, agreed.server_name) == ("", False, NAME)
    assert agreed.peer_chain == ()
    assert agreed.peer_identity is None
    assert agreed.peer_chain_pem is None


@VERSIONS
@KEYS
def test_byte_by_byte(version: str, is_rsa: bool) -> None:
    engine = acceptor(issued(is_rsa=is_rsa).identity)
    client = MemoryClient(client_context(version))
    shake_hands(engine, client, size=1)
    client.write(b"hello")
    client.close()
    got = b""
    for byte in pieces(client.output(), 1):
        engine.receive(byte)
        got += read_all(engine)
    assert got == b"hello"
    assert engine.peer_closed


@VERSIONS
def test_large_data_both_ways(version: str) -> None:
    engine, client = acceptor(), MemoryClient(client_context(version))
    shake_hands(engine, client)
    up, down = os.urandom(1_000_000), os.urandom(1_000_000)
    engine.write(down)
    client.write(up)
    client.receive(everything(engine))
    assert client.read() == down
    engine.receive(client.output())
    assert read_all(engine) == up


@VERSIONS
def test_both_sides_end_in_order_and_not_otherwise(version: str) -> None:
    engine, client = acceptor(), MemoryClient(client_context(version))
    shake_hands(engine, client)
    client.receive(everything(engine))
    engine.close()
    client.receive(everything(engine))
    assert client.read() == b""
    assert client.closed
    engine.receive(client.output())
    engine.receive(None)
    with pytest.raises(TruncationError):
        read_all(engine)


@pytest.mark.parametrize(("client", "low", "high"), [("1.2", 0x0304, None), ("1.3", None, 0x0303)])
def test_versions_are_kept_to(client: str, low: int | None, high: int | None) -> None:
    engine = acceptor(version_min=low, version_max=high)
    assert "handshake failed" in refused(engine, MemoryClient(client_context(client)))
    assert alert(engine) == ALERTS["protocol_version"]


@pytest.mark.parametrize("disabled", ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_a_disabled_cipher_is_not_used(disabled: str) -> None:
    engine, client = acceptor(disabled_ciphers=frozenset({disabled})), MemoryClient()
    shake_hands(engine, client)
    assert engine.negotiated().cipher not in {disabled, ""}
    shake_hands(other := acceptor(), MemoryClient())
    assert (other.negotiated().cipher == engine.negotiated().cipher) is (disabled != "TLS_AES_256_GCM_SHA384")


def test_renegotiation_is_refused() -> None:
    """RFC 9325 section 3.5: not in TLS 1.2 either."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    engine, client = acceptor(), OpenSslClient(context)
    shake_hands(engine, client)
    client.receive(everything(engine))
    assert client.connection.renegotiate()
    client.receive(b"")
    engine.receive(client.output())
    assert read_all(engine) == b""
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.receive(everything(engine))


# -- names


A, B, WILD = (issued(name).identity for name in ("a.test", "b.test", "*.wild.test"))
A_RSA = issued("a.test", is_rsa=True).identity


@VERSIONS
@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.test", A), ("b.test", B), ("B.Test", B), ("x.wild.test", WILD), (None, A), ("nobody.test", A)],
)
def test_the_certificate_is_the_one_that_was_asked_for(version: str, name: str | None, expected: Identity) -> None:
    context = client_context(version)
    engine, client = acceptor(A, B, WILD), NoNameCheck(context, name)
    shake_hands(engine, client)
    presented = client.tls.getpeercert(binary_form=True)
    assert presented == certificates(expected.chain_pem)[0].public_bytes(serialization.Encoding.DER)
    assert engine.negotiated().server_name == (name or "")


class NoNameCheck(MemoryClient):
    """A client that asks for a name and takes any certificate of the authority's."""

    def _wrap(self, context: ssl.SSLContext) -> ssl.SSLObject:
        context.check_hostname = False
        return super()._wrap(context)


@VERSIONS
def test_a_name_that_is_not_ours_is_refused(version: str) -> None:
    engine = acceptor(A, server_names=("a.test",))
    refused(engine, NoNameCheck(client_context(version), "b.test"))
    assert alert(engine) == ALERTS["unrecognized_name"]


@VERSIONS
@pytest.mark.parametrize("name", ["a.test", "A.TEST", None])
def test_our_names_and_no_name_are_not_refused(version: str, name: str | None) -> None:
    shake_hands(acceptor(A, server_names=("other.test", "a.test")), NoNameCheck(client_context(version), name))


# -- RSA beside ECDSA


@VERSIONS
@pytest.mark.parametrize("order", [(A, A_RSA), (A_RSA, A)], ids=["ecdsa first", "rsa first"])
@pytest.mark.parametrize("name", ["a.test", None])
@pytest.mark.parametrize(("algorithms", "expected"), [("RSA-PSS+SHA256:RSA+SHA256", A_RSA), ("ECDSA+SHA256", A)])
def test_the_clients_signature_algorithms_decide(
    version: str, order: tuple[Identity, ...], name: str | None, algorithms: str, expected: Identity
) -> None:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    only = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[version]
    context.set_min_proto_version(only)
    context.set_max_proto_version(only)
    assert SSL._lib.SSL_CTX_set1_sigalgs_list(context._context, algorithms.encode()) == 1  # type: ignore[attr-defined]
    client = OpenSslClient(context, name)
    shake_hands(acceptor(*order), client)
    presented = client.connection.get_peer_certificate()
    assert presented is not None
    assert presented.to_cryptography() == certificates(expected.chain_pem)[0]


# -- clients' certificates


def asking(**request: object) -> Engine:
    return acceptor(request_peer_auth=True, **request)


@VERSIONS
@KEYS
def test_a_clients_whole_chain_is_known(version: str, is_rsa: bool) -> None:
    presented = issued("client.test", is_rsa=is_rsa, deep=True, common_name="a client")
    engine = asking()
    shake_hands(engine, MemoryClient(client_context(version, presenting=presented)))
    agreed = engine.negotiated()
    assert certificates(agreed.peer_chain_pem) == certificates(presented.chain)
    assert len(agreed.peer_chain) == 2
    assert agreed.peer_identity is not None
    assert "CN=a client" in agreed.peer_identity


@VERSIONS
def test_a_client_without_a_certificate_is_refused(version: str) -> None:
    assert "peer did not return a certificate" in refused(asking(), MemoryClient(client_context(version)))


FAULTS = {
    "untrusted": (issued("client.test", strange=True), "unable to get local issuer certificate"),
    "expired": (issued("client.test", expired=True), "certificate has expired"),
    "self-signed": (sign_for_itself(new_key("P-256")), "self-signed certificate"),
}


@VERSIONS
@pytest.mark.parametrize("fault", FAULTS)
def test_a_client_with_a_bad_certificate_is_refused_and_told(version: str, fault: str) -> None:
    presented, reason = FAULTS[fault]
    engine, client = asking(), MemoryClient(client_context(version, presenting=presented))
    assert reason in refused(engine, client)
    with pytest.raises(ssl.SSLError, match="ALERT"):  # noqa: PT012
        client.receive(everything(engine))
        client.read()


def test_a_certificate_for_servers_only_is_none_for_clients() -> None:
    key = new_key("P-256")
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    presented = sign_for_itself(key, x509.BasicConstraints(ca=True, path_length=None), usage)
    engine = asking(anchors_pem=presented.chain)
    assert "purpose" in refused(engine, MemoryClient(client_context(presenting=presented)))


def test_a_client_that_is_not_asked_presents_nothing() -> None:
    engine = acceptor()
    shake_hands(engine, MemoryClient(client_context(presenting=issued("client.test"))))
    assert engine.negotiated().peer_chain == ()


# -- protocols


@VERSIONS
@pytest.mark.parametrize(
    ("ours", "offered", "selected"),
    [
        (("h2", "http/1.1"), ["http/1.1", "h2"], "h2"),
        (("http/1.1", "h2"), ["h2", "http/1.1"], "http/1.1"),
        (("h2",), [], ""),
        ((), ["h2"], ""),
    ],
)
def test_alpn(version: str, ours: tuple[str, ...], offered: list[str], selected: str) -> None:
    context = client_context(version)
    if offered:
        context.set_alpn_protocols(offered)
    engine, client = acceptor(alpn=ours), MemoryClient(context)
    shake_hands(engine, client)
    assert engine.negotiated().alpn == selected
    assert (client.tls.selected_alpn_protocol() or "") == selected


@VERSIONS
@pytest.mark.parametrize("identities", [(A,), (A, B)], ids=["one", "by name"])
def test_no_protocol_in_common_ends_the_handshake(version: str, identities: tuple[Identity, ...]) -> None:
    """RFC 7301 section 3.2."""
    context = client_context(version)
    context.set_alpn_protocols(["spdy"])
    engine = acceptor(*identities, alpn=("h2",))
    assert "none of the protocols of TLS_ALPN" in refused(engine, NoNameCheck(context, "b.test"))
    assert alert(engine) == ALERTS["no_application_protocol"]


def test_a_failed_handshake_does_not_spoil_the_next_of_the_same_context() -> None:
    made = acceptor_settings(A, alpn=("h2",))
    context = client_context()
    context.set_alpn_protocols(["spdy"])
    refused(Engine(context_for(made), made), NoNameCheck(context, "a.test"))
    shake_hands(Engine(context_for(made), made), MemoryClient(client_context(), "a.test"))


# -- clients that do not play by the rules


def complaint(answer: bytes, *, end: bool = False) -> str:
    """Return why the engine refuses a first message, "" when it waits for more."""
    engine = acceptor()
    engine.handshake()
    engine.receive(answer)
    if end:
        engine.receive(None)
    try:
        engine.handshake()
    except PeerError as error:
        return error.text
    return ""


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"EHLO me\r\n\r\n\r\n",
        b"\x00" * 100,
        b"\xff" * 100,
    ],
    ids=["http", "ssh", "smtp", "zeros", "ones"],
)
def test_a_client_that_speaks_no_tls(words: bytes) -> None:
    assert complaint(words)


def test_silence_is_no_error_and_an_end_is() -> None:
    assert complaint(b"") == ""
    assert "closed the connection" in complaint(b"", end=True)


@given(st.binary(max_size=200), st.booleans())
@settings(deadline=None)
def test_garbage_instead_of_a_handshake(words: bytes, end: bool) -> None:
    text = complaint(words, end=end)
    assert text or not end


HELLO = MemoryClient(client_context()).output()


@given(st.integers(0, len(HELLO) - 1), st.integers(1, 255), st.booleans())
@settings(deadline=None)
def test_one_changed_byte_in_the_first_message(where: int, by: int, end: bool) -> None:
    changed = HELLO[:where] + bytes([HELLO[where] ^ by]) + HELLO[where + 1 :]
    text = complaint(changed, end=end)
    assert text or not end


@given(st.integers(0, len(HELLO) - 1))
@settings(deadline=None)
def test_a_first_message_that_is_cut(size: int) -> None:
    assert complaint(HELLO[:size]) == ""
    assert "closed the connection" in complaint(HELLO[:size], end=True)


def test_truncation_may_be_allowed_by_the_policy() -> None:
    made = acceptor_settings(profile=Profile(truncation_allowed=True))
    engine, client = Engine(context_for(made), made), MemoryClient()
    shake_hands(engine, client)
    engine.receive(None)
    assert read_all(engine) == b""
    assert engine.peer_closed


def test_a_servers_own_certificate_may_be_by_somebody_else_than_its_clients() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=stranger().cert_pem.bytes().decode("ascii"))
    issued("client.test").load_into(context)
    engine = acceptor(issued(strange=True).identity, request_peer_auth=True)
    shake_hands(engine, MemoryClient(context))
    assert len(engine.negotiated().peer_chain) == 1
