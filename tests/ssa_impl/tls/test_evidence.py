"""What OpenSSL says of a chain without a handshake is what it says in one."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from ssa_impl.policy.contexts import context_for, verifier_for
from ssa_impl.policy.model import Profile, Settings
from ssa_impl.tls.engine import Engine
from ssa_impl.tls.evidence import gather_again
from ssa_impl.validation.model import Case
from tests.certificates import NAME
from tests.ssa_impl.credentials import Credential, anchors, issued, new_key, sign_for_itself
from tests.ssa_impl.tls import peers
from tests.ssa_impl.validation.test_connections import profile

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
VOTING = {"voting": ["trust-store-and-hostname", "allow-list"], "allow-list": {"names": ["*.ssa.test"]}}
"""the handshake goes on, whatever OpenSSL objects to"""


def governed(**fields: object) -> Profile:
    return profile(VOTING, **fields)


def for_clients_only() -> Credential:
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return sign_for_itself(new_key("P-256"), x509.SubjectAlternativeName([x509.DNSName(NAME)]), usage)


def again(settings: Settings, case: Case) -> Case:
    return gather_again(verifier_for(settings), settings, case.presented, case.stapled, case.now)


CHAINS = {
    "good": (issued(), {}, NAME, 0),
    "good, with an intermediate": (issued(deep=True), {}, NAME, 0),
    "good, for an address": (issued("127.0.0.1"), {}, "127.0.0.1", 0),
    "another name": (issued("elsewhere.ssa.test"), {}, NAME, 62),
    "another address": (issued("127.0.0.1"), {}, "127.0.0.2", 64),
    "a common name alone": (issued("other.test", common_name=NAME), {}, NAME, 62),
    "expired": (issued(expired=True), {}, NAME, 10),
    "nobody's": (issued(strange=True), {}, NAME, 20),
    "too long": (issued(deep=True), {"verify_depth": 0}, NAME, 22),
    "not for servers": (for_clients_only(), {}, NAME, 26),
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("what", CHAINS)
def test_a_server_is_judged_as_in_its_handshake(what: str, version: str) -> None:
    credential, fields, hostname, code = CHAINS[what]
    trusted = credential.chain if what == "not for servers" else anchors()
    settings = peers.settings(hostname, governed(**fields), anchors_pem=trusted)
    engine = Engine(context_for(settings), settings)
    context = credential.load_into(peers.server_context(version))
    peers.shake_hands(engine, peers.MemoryPeer(context))
    case = engine.case(NOW)
    assert case.openssl_code == code
    assert bool(case.verified) is (code in {0, 62, 64})
    assert again(settings, case) == case


@pytest.mark.parametrize(("credential", "code"), [(issued("client.test"), 0), (issued("x", strange=True), 20)])
def test_so_is_a_client(credential: Credential, code: int) -> None:
    settings = peers.acceptor_settings(profile=governed(), request_peer_auth=True)
    engine = Engine(context_for(settings), settings)
    peers.shake_hands(engine, peers.MemoryClient(peers.client_context(presenting=credential)))
    case = engine.case(NOW)
    assert (case.openssl_code, case.accepting) == (code, True)
    assert again(settings, case) == case


def test_nobody_was_there() -> None:
    settings = peers.settings(profile=governed())
    case = gather_again(verifier_for(settings), settings, (), None, NOW)
    assert (case.presented, case.verified, case.openssl_code) == ((), (), 0)


def signed(leaf_key: str, authority_key: str, digest: hashes.HashAlgorithm) -> tuple[Credential, bytes]:
    """Return a certificate and its anchor (PEM)."""
    key, by = new_key(leaf_key), new_key(authority_key)
    anchor = sign_for_itself(by, x509.BasicConstraints(True, None), common_name="an authority").chain
    leaf = x509.CertificateBuilder(
        x509.load_pem_x509_certificate(anchor).subject, x509.Name([]), key.public_key(), 1, NOW - DAY, NOW + DAY
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credential(leaf.sign(by, digest).public_bytes(Encoding.PEM), private), anchor


LEAF, DIGEST, AUTHORITY = 66, 68, 67


@pytest.mark.parametrize(
    ("keys", "digest", "level", "code"),
    [
        (("P-256", "P-256"), hashes.SHA256(), 3, 0),
        (("P-256", "P-256"), hashes.SHA224(), 3, DIGEST),
        (("P-256", "RSA-2048"), hashes.SHA256(), 3, AUTHORITY),
        (("P-256", "Ed25519"), None, 3, 0),
    ],
)
def test_strength_is_judged_as_in_a_handshake(
    keys: tuple[str, str], digest: hashes.HashAlgorithm, level: int, code: int
) -> None:
    credential, anchor = signed(*keys, digest)
    settings = peers.settings(profile=governed(security_level=level), anchors_pem=anchor)
    engine = Engine(context_for(settings), settings)
    context = peers.server_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    peers.shake_hands(engine, peers.MemoryPeer(credential.load_into(context)))
    case = engine.case(NOW)
    assert case.openssl_code == code
    assert again(settings, case) == case


@pytest.mark.parametrize(
    ("keys", "digest", "level", "code"),
    [
        (("P-384", "P-384"), hashes.SHA384(), 4, 0),
        (("P-256", "P-384"), hashes.SHA384(), 4, LEAF),
        (("P-384", "P-256"), hashes.SHA384(), 4, AUTHORITY),
        (("P-384", "Ed25519"), None, 4, AUTHORITY),
        (("P-384", "P-384"), hashes.SHA256(), 4, DIGEST),
        (("RSA-2048", "P-256"), hashes.SHA256(), 2, 0),
        (("RSA-2048", "P-256"), hashes.SHA256(), 3, LEAF),
    ],
)
def test_and_where_no_peer_could_shake_hands_at_such_a_level(
    keys: tuple[str, str], digest: hashes.HashAlgorithm, level: int, code: int
) -> None:
    credential, anchor = signed(*keys, digest)
    settings = peers.settings(profile=governed(security_level=level), anchors_pem=anchor)
    presented = x509.load_pem_x509_certificate(credential.chain).public_bytes(Encoding.DER)
    assert gather_again(verifier_for(settings), settings, (presented,), None, NOW).openssl_code == code
