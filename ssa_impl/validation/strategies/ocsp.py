"""OCSP (RFC 6960): a request for one certificate, and what can be believed of a response.  Pure."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from .answers import Answer, NoAnswer, holds_until, when

REQUEST_TYPE = "application/ocsp-request"


def responders(certificate: x509.Certificate) -> list[str]:
    """Return the responders' addresses in a certificate (authorityInfoAccess)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [
        place.access_location.value
        for place in access
        if place.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(place.access_location, x509.UniformResourceIdentifier)
    ]


def request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Return a request, DER.  SHA-1 names the issuer here and protects nothing; every responder knows it (RFC 5019)."""
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())
    return builder.build().public_bytes(Encoding.DER)


def must_staple(certificate: x509.Certificate) -> bool:
    """Whether a certificate promises that its server staples (RFC 7633)."""
    try:
        features = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return x509.TLSFeatureType.status_request in features


def read(
    der: bytes, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime.datetime, source: str
) -> Answer:
    """Return what a response says of a certificate.  Raises NoAnswer for all that cannot be believed."""
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise NoAnswer(f"the responder says {response.response_status.name.lower()}")
        single = _single(response, certificate, issuer)
        _verify(response, issuer, now)
        until = holds_until(now, single.this_update_utc, single.next_update_utc)
        status = single.certificate_status
        if status is ocsp.OCSPCertStatus.REVOKED:
            assert single.revocation_time_utc is not None
            return Answer(True, until, source, when(single.revocation_time_utc, single.revocation_reason))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NoAnswer(f"it cannot be read ({error})") from None
    if status is not ocsp.OCSPCertStatus.GOOD:
        raise NoAnswer("the responder does not know the certificate")
    return Answer(False, until, source)


def _single(
    response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate
) -> ocsp.OCSPSingleResponse:
    for single in response.responses:
        if single.serial_number != certificate.serial_number:
            continue
        ours = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, single.hash_algorithm).build()
        if (ours.issuer_key_hash, ours.issuer_name_hash) == (single.issuer_key_hash, single.issuer_name_hash):
            return single
    raise NoAnswer("it is about another certificate")


def _verify(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime.datetime) -> None:
    """Check that the issuer has signed, or somebody whom the issuer has appointed (RFC 6960 section 4.2.2.2)."""
    for signer in (issuer, *response.certificates):
        if signer != issuer and not _is_appointed(signer, issuer, now):
            continue
        try:
            verify_signature(signer, response.signature, response.tbs_response_bytes, response.signature_hash_algorithm)
        except InvalidSignature:
            continue
        return
    raise NoAnswer("nobody whom the issuer has appointed has signed it")


def _is_appointed(signer: x509.Certificate, issuer: x509.Certificate, now: datetime.datetime) -> bool:
    try:
        signer.verify_directly_issued_by(issuer)
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    return (
        ExtendedKeyUsageOID.OCSP_SIGNING in usage and signer.not_valid_before_utc <= now <= signer.not_valid_after_utc
    )


def verify_signature(
    signer: x509.Certificate, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm | None
) -> None:
    """Check a signature.  InvalidSignature; UnsupportedAlgorithm for a kind of key that is not known here."""
    if isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        raise NoAnswer(f"it is signed with {algorithm.name}, which is not believed")
    key = signer.public_key()
    match key:
        case rsa.RSAPublicKey() if algorithm is not None:
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        case ec.EllipticCurvePublicKey() if algorithm is not None:
            key.verify(signature, signed, ec.ECDSA(algorithm))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            key.verify(signature, signed)
        case _:
            raise UnsupportedAlgorithm("signed with a kind of key that is not known")
