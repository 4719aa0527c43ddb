"""What several strategies need to know of certificates and names.  Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..model import Case


@lru_cache(maxsize=256)
def load(der: bytes) -> x509.Certificate:
    """Return a certificate.  ValueError when it is none."""
    return x509.load_der_x509_certificate(der)


def key_digest(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo), as pins have it (RFC 7469 section 2.4)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def canonical(name: str) -> str:
    """Return a name as names are compared: in small letters, without the root's dot."""
    return name.lower().removesuffix(".")


def matches(pattern: str, name: str) -> bool:
    """Whether a name is the pattern's; a pattern's ``*.`` stands for exactly one label (RFC 9525 section 6.3)."""
    pattern, name = canonical(pattern), canonical(name)
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return pattern == name


def chain_with_issuers(case: Case) -> list[tuple[x509.Certificate, x509.Certificate]]:
    """Return each certificate of the verified chain below the anchor with its issuer, leaf first."""
    chain = [load(der) for der in case.verified]
    return list(pairwise(chain))
