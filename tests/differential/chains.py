"""Certificate chains of every kind, as DER: what a peer sends, what the verifier trusts, and the name it wants.

Keys are made once in a test run; ECDSA ones wherever the kind of key is not the point.
"""

from __future__ import annotations

import datetime
import itertools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.certificates import NAME

Key = CertificateIssuerPrivateKeyTypes

_HOUR = datetime.timedelta(hours=1)
_DAY = datetime.timedelta(days=1)
_HEADER_BYTES = 4
"""tag and length of a certificate, which always has more than 255 bytes and less than 65536"""
_serials = itertools.count(1000)

PAST = (-3 * _DAY, -_DAY)
FUTURE = (_DAY, 3 * _DAY)
PRESENT = (-_HOUR, _DAY)

SERVERS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENTS = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])

RSA_SHA256, RSA_SHA1, RSA_MD5 = (bytes.fromhex("06092a864886f70d0101" + last) for last in ("0b", "05", "04"))
"""object identifiers of signatures, all of one length"""


# -- keys


@cache
def key(label: str, kind: str = "P-256") -> Key:
    """Return the key with this label."""
    curves: dict[str, ec.EllipticCurve] = {
        "P-192": ec.SECP192R1(),
        "P-224": ec.SECP224R1(),
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
    }
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    return ec.generate_private_key(curves[kind])


# -- certificates


@dataclass(frozen=True)
class Kind:
    """What a certificate says; every field may be a fault."""

    names: tuple[x509.GeneralName, ...] | None = None
    common_name: str = ""
    authority: bool | None = None
    """CA in the basic constraints; None: no basic constraints"""
    path_length: int | None = None
    usage: frozenset[str] | None = None
    """of KeyUsage; None: no such extension"""
    extended: x509.ExtendedKeyUsage | None = None
    constraints: x509.NameConstraints | None = None
    valid: tuple[datetime.timedelta, datetime.timedelta] = PRESENT
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = ()
    """others, each with whether it is critical"""
    key_kind: str = "P-256"
    key_label: str = ""
    """who shares a label shares a key; empty: the common name"""
    pss: bool = False
    key_ids: bool = True
    """whether it names its own and its issuer's key"""


AUTHORITY = Kind(authority=True, usage=frozenset({"key_cert_sign", "crl_sign"}))
LEAF = Kind(names=(x509.DNSName(NAME),), common_name="leaf", authority=False, usage=frozenset({"digital_signature"}))


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    der: bytes
    key: Key
    kind: Kind = field(compare=False)

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.der)

    @property
    def subject(self) -> x509.Name:
        return _name(self.kind.common_name)


def issue(kind: Kind, issuer: Issued | None = None) -> Issued:
    """Return a certificate of this kind, self-signed when there is no issuer."""
    own_key = key(kind.key_label or kind.common_name, kind.key_kind)
    subject = _name(kind.common_name)
    signer, issuer_name = (own_key, subject) if issuer is None else (issuer.key, issuer.subject)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        issuer_name, subject, own_key.public_key(), next(_serials), now + kind.valid[0], now + kind.valid[1]
    )
    for extension, critical in _extensions(kind, own_key, signer):
        builder = builder.add_extension(extension, critical)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size) if kind.pss else None
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.sign(signer, digest, rsa_padding=pss)  # type: ignore[arg-type]  # Ed25519 has no digest
    return Issued(made.public_bytes(serialization.Encoding.DER), own_key, kind)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)] if common_name else [])


def _extensions(kind: Kind, own: Key, signer: Key) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if kind.names is not None:
        found.append((x509.SubjectAlternativeName(kind.names), False))
    if kind.authority is not None:
        length = kind.path_length if kind.authority else None
        found.append((x509.BasicConstraints(kind.authority, length), True))
    if kind.usage is not None:
        found.append((_key_usage(kind.usage), True))
    if kind.extended is not None:
        found.append((kind.extended, False))
    if kind.constraints is not None:
        found.append((kind.constraints, True))
    if kind.key_ids:
        found.append((x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False))
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False))
    return [*found, *kind.extensions]


def _key_usage(wanted: frozenset[str]) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{usage: usage in wanted for usage in every})


def authority(label: str, issuer: Issued | None = None, **changes: object) -> Issued:
    """Return an authority's certificate."""
    return issue(replace(AUTHORITY, common_name=label, **changes), issuer)  # type: ignore[arg-type]


def leaf(issuer: Issued | None, **changes: object) -> Issued:
    """Return a server's (or a client's) certificate."""
    return issue(replace(LEAF, **changes), issuer)  # type: ignore[arg-type]


# -- what no builder would make


def resigned(
    issued: Issued, issuer: Issued, *changes: tuple[bytes, bytes], digest: hashes.HashAlgorithm | None = None
) -> Issued:
    """Return the certificate with bytes exchanged for others of the same length, signed again by its issuer."""
    tbs = issued.certificate.tbs_certificate_bytes
    rest = issued.der[_HEADER_BYTES + len(tbs) :]
    algorithm = rest[: 2 + rest[1]]
    for old, new in changes:
        assert len(old) == len(new), "only bytes of the same length can be exchanged"
        assert old in tbs + algorithm, "nothing to exchange"
        tbs, algorithm = tbs.replace(old, new), algorithm.replace(old, new)
    digest = digest or hashes.SHA256()
    match issuer.key:
        case rsa.RSAPrivateKey():
            signature = issuer.key.sign(tbs, padding.PKCS1v15(), digest)
        case ec.EllipticCurvePrivateKey():
            signature = issuer.key.sign(tbs, ec.ECDSA(digest))
        case _:
            raise AssertionError("not a key to sign with here")
    return replace(issued, der=_sequence(tbs + algorithm + b"\x03" + _length(len(signature) + 1) + b"\0" + signature))


def tampered(issued: Issued) -> Issued:
    """Return the certificate with the last bit of its signature changed."""
    return replace(issued, der=issued.der[:-1] + bytes([issued.der[-1] ^ 1]))


def _sequence(content: bytes) -> bytes:
    return b"\x30" + _length(len(content)) + content


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw


# -- one case


@dataclass(frozen=True)
class Case:
    """A peer, what it sends, and who looks at it."""

    own: Issued
    """the peer's own certificate, sent first"""
    along: tuple[Issued, ...] = ()
    """what it sends after its own"""
    anchors: tuple[Issued, ...] = ()
    name: str = NAME
    shown: Issued | None = None
    """what is put in place of its own on the wire, where no library would load it (TLS 1.2 only)"""

    @property
    def peer_pem(self) -> bytes:
        """Key and chain, as a file for ``load_cert_chain``."""
        private = self.own.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private + pem((self.own, *self.along))

    @property
    def anchors_pem(self) -> bytes:
        return pem(self.anchors)


def pem(certificates: Sequence[Issued]) -> bytes:
    """Return certificates as PEM."""
    return "".join(ssl.DER_cert_to_PEM_cert(certificate.der) for certificate in certificates).encode()
