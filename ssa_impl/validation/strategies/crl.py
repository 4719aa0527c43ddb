"""Certificate revocation lists (RFC 5280 sections 5 and 6.3): complete lists of the issuer itself.  Pure."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from .answers import Answer, NoAnswer, holds_until, when

_PEM = b"-----BEGIN X509 CRL-----"


def distribution_points(certificate: x509.Certificate) -> list[str]:
    """Return the addresses of complete lists in a certificate (cRLDistributionPoints)."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [
        name.value
        for point in points
        if not point.crl_issuer and not point.reasons
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    ]


def load(content: bytes) -> list[x509.CertificateRevocationList]:
    """Return the lists in a file or an answer: PEM, any number, or DER.  Raises NoAnswer."""
    try:
        if _PEM not in content:
            return [x509.load_der_x509_crl(content)]
        ends = content.split(_PEM)[1:]
        return [x509.load_pem_x509_crl(_PEM + end) for end in ends]
    except (ValueError, TypeError):
        raise NoAnswer("the list cannot be read") from None


def read(
    lists: Sequence[x509.CertificateRevocationList],
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime.datetime,
    source: str,
) -> Answer:
    """Return what the issuer's latest list says of a certificate.  Raises NoAnswer for all that cannot be believed."""
    reason = "there is no list of its issuer"
    for listed in sorted(lists, key=lambda each: each.last_update_utc, reverse=True):
        if listed.issuer != certificate.issuer:
            continue
        try:
            return _read_one(listed, certificate, issuer, now, source)
        except NoAnswer as none:
            reason = str(none)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            reason = f"the list cannot be read ({error})"
    raise NoAnswer(reason)


def _read_one(
    listed: x509.CertificateRevocationList,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime.datetime,
    source: str,
) -> Answer:
    _check_issuer(listed, issuer)
    _check_scope(listed, certificate)
    until = holds_until(now, listed.last_update_utc, listed.next_update_utc)
    entry = listed.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is None:
        return Answer(False, until, source)
    try:
        reason: object = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        reason = None
    return Answer(True, until, source, when(entry.revocation_date_utc, reason))


def _check_issuer(listed: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    if isinstance(listed.signature_hash_algorithm, hashes.SHA1 | hashes.MD5):
        raise NoAnswer(f"the list is signed with {listed.signature_hash_algorithm.name}, which is not believed")
    if not listed.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # TypeError for other kinds
        raise NoAnswer("the list is not signed by the certificate's issuer")
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.crl_sign:
        raise NoAnswer("the issuer's key is not for signing lists")


def _check_scope(listed: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Refuse lists that are not about all reasons and this kind of certificate; unknown critical rules among them."""
    for extension in listed.extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            raise NoAnswer("the list is a delta, not a complete one")
        if not isinstance(value, x509.IssuingDistributionPoint):
            if extension.critical:
                raise NoAnswer(
                    f"the list has a critical extension that is not known here ({extension.oid.dotted_string})"
                )
            continue
        authority = _is_authority(certificate)
        if value.indirect_crl or value.only_some_reasons or value.only_contains_attribute_certs:
            raise NoAnswer("the list is indirect or for some reasons only")
        if (value.only_contains_user_certs and authority) or (value.only_contains_ca_certs and not authority):
            raise NoAnswer("the list is not for this kind of certificate")
        if value.relative_name or (value.full_name and not _same_place(value.full_name, certificate)):
            raise NoAnswer("the list is another part of the issuer's lists")


def _same_place(names: Sequence[x509.GeneralName], certificate: x509.Certificate) -> bool:
    ours = distribution_points(certificate)
    return any(name.value in ours for name in names if isinstance(name, x509.UniformResourceIdentifier))


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
