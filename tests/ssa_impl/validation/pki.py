"""An authority that can revoke: certificates, OCSP responses and lists, right and wrong ones."""

from __future__ import annotations

import datetime
import itertools
from dataclasses import dataclass
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from ssa_impl.validation.model import Case

NAME = "server.ssa.test"
NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)
_serials = itertools.count(1000)


@dataclass(frozen=True)
class Credentials:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _make(
    subject: str, issuer: Credentials | None, extensions: list[tuple[x509.ExtensionType, bool]], *, days: int = 30
) -> Credentials:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    builder = x509.CertificateBuilder(
        issuer.certificate.subject if issuer else _name(subject),
        _name(subject),
        key.public_key(),
        next(_serials),
        NOW - 2 * DAY,
        NOW + days * DAY,
    )
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    for extension, critical in [*extensions, (authority_key, False)]:
        builder = builder.add_extension(extension, critical)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return Credentials(builder.sign(signer, hashes.SHA256()), key)


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        encipher_only=False,
        decipher_only=False,
    )


def authority(name: str = "The tests' authority", issuer: Credentials | None = None) -> Credentials:
    """Return an authority, a root one without issuer."""
    return _make(
        name, issuer, [(x509.BasicConstraints(True, None), True), (_usage(signs_others=True), True)], days=3650
    )


@cache
def root() -> Credentials:
    """Return the authority of this test run."""
    return authority()


@cache
def stranger() -> Credentials:
    """Return another authority of the same name."""
    return authority()


def leaf(
    *,
    responder: str = "",
    list_at: str = "",
    must_staple: bool = False,
    issuer: Credentials | None = None,
    names: tuple[x509.GeneralName, ...] = (x509.DNSName(NAME),),
) -> Credentials:
    """Return a server's and client's certificate; ``responder`` and ``list_at`` are addresses that it names."""
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(False, None), True),
        (_usage(signs_others=False), True),
        (usages, False),
    ]
    if responder:
        place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(responder))
        extensions.append((x509.AuthorityInformationAccess([place]), False))
    if list_at:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(list_at)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), False))
    if must_staple:
        extensions.append((x509.TLSFeature([x509.TLSFeatureType.status_request]), False))
    return _make("a leaf", issuer or root(), extensions)


def appointed(issuer: Credentials, *, for_ocsp: bool = True) -> Credentials:
    """Return a responder's certificate."""
    usage = ExtendedKeyUsageOID.OCSP_SIGNING if for_ocsp else ExtendedKeyUsageOID.SERVER_AUTH
    return _make("a responder", issuer, [(x509.ExtendedKeyUsage([usage]), False)])


def case(credentials: Credentials, *between: Credentials, hostname: str = NAME, **fields: object) -> Case:
    """Return the case of a peer whose chain OpenSSL has verified."""
    chain = (credentials.der, *(each.der for each in between))
    given: dict[str, object] = {
        "presented": chain,
        "now": NOW,
        "verified": (*chain, root().der),
        "hostname": hostname,
        "anchors_pem": root().pem,
        "trust_system": False,
    }
    return Case(**(given | fields))  # type: ignore[arg-type]


def response(
    about: Credentials,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    *,
    signer: Credentials | None = None,
    issuer: Credentials | None = None,
    this_update: datetime.datetime = NOW - HOUR,
    next_update: datetime.datetime | None = NOW + DAY,
) -> bytes:
    """Return an OCSP response, DER; ``signer``: somebody else than the issuer, whose certificate goes with it."""
    issuer = issuer or root()
    by = signer or issuer
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        about.certificate,
        issuer.certificate,
        hashes.SHA256(),
        status,
        this_update,
        next_update,
        NOW - HOUR if revoked else None,
        x509.ReasonFlags.key_compromise if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, by.certificate)
    if signer is not None:
        builder = builder.certificates([signer.certificate])
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)


def revocation_list(
    *revoked: Credentials,
    issuer: Credentials | None = None,
    last_update: datetime.datetime = NOW - HOUR,
    next_update: datetime.datetime = NOW + DAY,
    extension: x509.ExtensionType | None = None,
) -> bytes:
    """Return a list, DER."""
    by = issuer or root()
    builder = x509.CertificateRevocationListBuilder(by.certificate.subject, last_update, next_update)
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    for each in revoked:
        entry = x509.RevokedCertificateBuilder(each.certificate.serial_number, NOW - HOUR)
        entry = entry.add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(by.key, hashes.SHA256()).public_bytes(Encoding.DER)
