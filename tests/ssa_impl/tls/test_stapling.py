"""What an acceptor staples: the answer about the very certificate that the handshake chose, looked up then."""

from __future__ import annotations

import datetime
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ssa_impl.policy.contexts import context_for
from ssa_impl.policy.model import Profile, Settings
from ssa_impl.tls.engine import Engine
from ssa_impl.validation.model import OPENSSL_ALONE
from tests.certificates import NAME
from tests.ssa_impl.credentials import Credential, anchors, issued
from tests.ssa_impl.tls.peers import acceptor_settings, everything
from tests.ssa_impl.tls.peers import settings as initiator_settings
from tests.ssa_impl.validation import pki

VERSIONS = pytest.mark.parametrize("version", [0x0303, 0x0304])
OTHER = "other.ssa.test"
NOW = datetime.datetime.now(datetime.UTC)


def der(credential: Credential) -> bytes:
    return x509.load_pem_x509_certificate(credential.chain).public_bytes(Encoding.DER)


@cache
def answer(credential: Credential) -> bytes:
    """An OCSP response; OpenSSL staples nothing else, whoever has signed it."""
    about = pki.Credentials(x509.load_pem_x509_certificate(credential.chain), pki.root().key)
    return pki.response(about)


def answers(*credentials: Credential) -> dict[bytes, bytes]:
    return {der(each): answer(each) for each in credentials}


def stapled(server: Settings, known: dict[bytes, bytes], version: int, name: str = NAME, **request: object) -> bytes:
    """Shake hands; return what the client was given, b"" for nothing."""
    acceptor = Engine(context_for(server), server, staple=lambda leaf: known.get(leaf, b""))
    asking = Profile(validation=OPENSSL_ALONE, **request)  # type: ignore[arg-type]
    made = initiator_settings(name, asking, anchors_pem=anchors(), version_min=version, version_max=version)
    initiator = Engine(context_for(made), made)
    while not (initiator.handshake() & acceptor.handshake()):
        acceptor.receive(everything(initiator))
        acceptor.handshake()
        initiator.receive(everything(acceptor))
    return initiator.case(NOW).stapled or b""


@VERSIONS
def test_each_certificate_has_its_own_answer(version: int) -> None:
    ecdsa, rsa, other = issued(), issued(is_rsa=True), issued(OTHER)
    server = acceptor_settings(*(each.identity for each in (ecdsa, rsa, other)), staple=True)
    known = answers(ecdsa, rsa, other)
    assert stapled(server, known, version) == answer(ecdsa)
    assert stapled(server, known, version, OTHER) == answer(other)
    only_rsa: dict[str, object] = {"signature_algorithms": ("rsa_pss_rsae_sha256",)}
    assert stapled(server, known, version, **only_rsa) == answer(rsa)


@VERSIONS
def test_the_answer_is_looked_up_anew_for_each_connection_of_one_context(version: int) -> None:
    made = issued()
    server = acceptor_settings(made.identity, staple=True)
    known: dict[bytes, bytes] = {}
    assert stapled(server, known, version) == b""
    known |= answers(made)
    assert stapled(server, known, version) == answer(made)


@VERSIONS
def test_who_does_not_staple_has_no_answer_for_anybody(version: int) -> None:
    made = issued()
    assert stapled(acceptor_settings(made.identity), answers(made), version) == b""
