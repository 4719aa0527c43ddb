"""The engine against peers that do not play by the rules: PeerError, and nothing else, whatever they send."""

from __future__ import annotations

import contextlib
import datetime
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from ssa_impl.errors import PeerError, TruncationError
from ssa_impl.policy.contexts import context_for
from ssa_impl.tls.engine import Engine
from tests.certificates import NAME, authority, context_from_pem, self_signed_pem
from tests.ssa_impl.tls import peers
from tests.ssa_impl.tls.peers import MemoryPeer, connected, everything, new_engine, read_all, server_context

UNHURRIED = settings(deadline=None)
VERSIONS = pytest.mark.parametrize("version", ["1.2", "1.3"])


def complaint(engine: Engine, answer: bytes, *, end: bool = False) -> str:
    """Return why the engine refused an answer to its first message, "" when it waits for more."""
    engine.handshake()
    everything(engine)
    engine.receive(answer)
    if end:
        engine.receive(None)
    try:
        engine.handshake()
    except PeerError as error:
        return error.text
    return ""


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example.com ESMTP\r\n",
        b"* OK IMAP4rev1 ready\r\n",
        b"+OK POP3 ready\r\n",
        b"\x00" * 100,
        b"\xff" * 100,
    ],
    ids=["http", "ssh", "smtp", "imap", "pop3", "zeros", "ones"],
)
def test_a_peer_that_speaks_no_tls_is_told_from_others(answer: bytes) -> None:
    assert "the peer speaks no TLS" in complaint(new_engine(), answer)


@pytest.mark.parametrize(
    ("alert", "reason"), [(40, "handshake failure"), (70, "protocol version"), (112, "unrecognized name")]
)
def test_the_peers_alert_is_named(alert: int, reason: str) -> None:
    assert reason in complaint(new_engine(), bytes([21, 3, 3, 0, 2, 2, alert]))


def test_silence_is_no_error_and_an_end_is() -> None:
    assert complaint(new_engine(), b"") == ""
    assert "closed the connection" in complaint(new_engine(), b"", end=True)


@given(st.binary(max_size=200), st.booleans())
@UNHURRIED
def test_garbage_instead_of_a_handshake(answer: bytes, end: bool) -> None:
    text = complaint(new_engine(), answer, end=end)
    assert text or not end


RECORDS = st.lists(
    st.tuples(
        st.sampled_from([20, 21, 22, 23, 24, 0, 255]), st.sampled_from([0x0301, 0x0303, 0x0304]), st.binary(max_size=60)
    ),
    max_size=5,
)


@given(RECORDS, st.booleans())
@UNHURRIED
def test_well_formed_records_of_nonsense(records: list[tuple[int, int, bytes]], end: bool) -> None:
    answer = b"".join(
        bytes([kind]) + wire.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for kind, wire, body in records
    )
    text = complaint(new_engine(), answer, end=end)
    assert text or not end


def changed(flight: bytes) -> st.SearchStrategy[bytes]:
    """``flight`` with one byte changed; its length differs from run to run, and the choices must not."""

    def change(position: int, by: int) -> bytes:
        where = position % len(flight)
        return flight[:where] + bytes([flight[where] ^ by]) + flight[where + 1 :]

    return st.builds(change, st.integers(0, 2000), st.integers(1, 255))


@VERSIONS
@given(data=st.data())
@UNHURRIED
def test_one_changed_byte_in_the_servers_first_flight(version: str, data: st.DataObject) -> None:
    engine, peer = new_engine(), MemoryPeer(server_context(version))
    engine.handshake()
    peer.receive(everything(engine))
    engine.receive(data.draw(changed(peer.output())))
    with contextlib.suppress(PeerError):
        if engine.handshake():  # a ticket or a legacy field may have changed: then the peer must agree in the end
            peer.receive(everything(engine))
    engine.receive(None)
    with pytest.raises((PeerError, TruncationError)):
        assert not engine.handshake() or read_all(engine)


@VERSIONS
@given(data=st.data())
@UNHURRIED
def test_one_changed_byte_in_the_data(version: str, data: st.DataObject) -> None:
    engine, peer = connected(server_context(version))
    engine.receive(peer.output())
    read_all(engine)
    peer.write(b"x" * 100)
    engine.receive(data.draw(changed(peer.output())))
    engine.receive(None)
    with pytest.raises(PeerError):  # TruncationError is one
        assert read_all(engine) == b""


@given(st.binary(min_size=1, max_size=100))
@UNHURRIED
def test_garbage_in_the_middle_of_the_data(garbage: bytes) -> None:
    engine, peer = connected()
    peer.write(b"good")
    engine.receive(peer.output())
    assert read_all(engine) == b"good"
    engine.receive(garbage)
    engine.receive(None)
    with pytest.raises(PeerError):
        read_all(engine)
    engine.close()
    everything(engine)


@VERSIONS
def test_what_came_before_the_garbage_is_handed_over_first(version: str) -> None:
    engine, peer = connected(server_context(version))
    peer.write(b"good")
    engine.receive(peer.output() + b"\xff" * 50)
    room = memoryview(bytearray(100))
    assert engine.read_into(room) == 4
    with pytest.raises(PeerError):
        engine.read_into(room)


def test_self_signed() -> None:
    engine, peer = new_engine(), MemoryPeer(context_from_pem(self_signed_pem()))
    engine.handshake()
    peer.receive(everything(engine))
    engine.receive(peer.output())
    with pytest.raises(PeerError, match="self-signed certificate"):
        engine.handshake()


# -- a server of pyOpenSSL, for what the standard library refuses to do


def private_key(leaf: trustme.LeafCert) -> ec.EllipticCurvePrivateKey:
    """Return the key of a certificate."""
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


class CrookedPeer:
    """A TLS server that can be told to misbehave."""

    def __init__(self, version: int = SSL.TLS1_3_VERSION, leaf: trustme.LeafCert | None = None) -> None:
        leaf = leaf or authority().credentials()
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(version)
        context.set_max_proto_version(version)
        context.use_privatekey(private_key(leaf))
        context.use_certificate(x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()))
        self.context = context
        self.tls: SSL.Connection

    def start(self) -> None:
        self.tls = SSL.Connection(self.context, None)
        self.tls.set_accept_state()

    def receive(self, ciphertext: bytes) -> None:
        if ciphertext:
            self.tls.bio_write(ciphertext)
        with contextlib.suppress(SSL.WantReadError):
            self.tls.do_handshake()

    def output(self) -> bytes:
        try:
            return self.tls.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""


def converse(engine: Engine, peer: CrookedPeer) -> None:
    """Let the two shake hands."""
    peer.start()
    for _ in range(4):
        engine.handshake()
        peer.receive(everything(engine))
        engine.receive(peer.output())
    assert engine.handshake()


def test_a_request_to_renegotiate_does_not_break_the_connection() -> None:
    engine, peer = new_engine(), CrookedPeer(SSL.TLS1_2_VERSION)
    converse(engine, peer)
    assert peer.tls.renegotiate()
    with contextlib.suppress(SSL.Error):
        peer.tls.do_handshake()  # puts a HelloRequest on the wire
    engine.receive(peer.output())
    assert read_all(engine) == b""
    engine.write(b"unimpressed")
    assert everything(engine)


def certificate(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *extensions: x509.ExtensionType) -> bytes:
    """Return key and certificate by a fresh authority, whose own certificate comes first, as PEM."""
    now = datetime.datetime.now(datetime.UTC)
    validity = (now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1))
    root_key = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    root = (
        x509.CertificateBuilder(root_name, root_name, root_key.public_key(), 1, *validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "leaf")])
    builder = x509.CertificateBuilder(root_name, name, key.public_key(), 2, *validity)
    for extension in (x509.SubjectAlternativeName([x509.DNSName(NAME)]), *extensions):
        builder = builder.add_extension(extension, critical=False)
    leaf = builder.sign(root_key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return b"".join(
        [root.public_bytes(serialization.Encoding.PEM), private, leaf.public_bytes(serialization.Encoding.PEM)]
    )


def complaint_about(pem: bytes) -> str:
    """Return what the engine says of a server with the second certificate in ``pem``; the first is the anchor."""
    anchor, _, rest = pem.partition(b"-----BEGIN PRIVATE KEY")
    context = context_from_pem(b"-----BEGIN PRIVATE KEY" + rest, ciphers="DEFAULT@SECLEVEL=0")
    made = peers.settings(anchors_pem=anchor)
    engine, peer = Engine(context_for(made), made), MemoryPeer(context)
    engine.handshake()
    peer.receive(everything(engine))
    return complaint(engine, peer.output())


def test_a_certificate_of_this_kind_is_taken() -> None:
    assert complaint_about(certificate(ec.generate_private_key(ec.SECP256R1()))) == ""


def test_a_certificate_for_clients_only_is_refused() -> None:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    assert "purpose" in complaint_about(certificate(ec.generate_private_key(ec.SECP256R1()), usage))


def test_a_weak_key_is_refused() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    assert "key too weak" in complaint_about(certificate(weak))


def test_a_certificate_that_no_authority_may_sign_is_refused() -> None:
    """A leaf that plays authority: CA:FALSE must hold."""
    leaf = authority().credentials()
    issuer = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    forged = (
        x509.CertificateBuilder(issuer.subject, issuer.subject, key.public_key(), 3, now, now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(private_key(leaf), hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = private + forged.public_bytes(serialization.Encoding.PEM) + leaf.cert_chain_pems[0].bytes()
    engine, peer = new_engine(), MemoryPeer(context_from_pem(chain))
    engine.handshake()
    peer.receive(everything(engine))
    assert "certificate verify failed: " in complaint(engine, peer.output())


def test_an_anonymous_server_is_refused() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ADH-AES256-GCM-SHA384:@SECLEVEL=0")
    engine, peer = new_engine(), MemoryPeer(context)
    engine.handshake()
    with contextlib.suppress(ssl.SSLError):
        peer.receive(everything(engine))
    assert "handshake failure" in complaint(engine, peer.output())
