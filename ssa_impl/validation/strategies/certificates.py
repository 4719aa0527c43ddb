"""What several strategies need to know of certificates and names.  Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from functools import lru_cache
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ...names import is_ip_address
from ..model import Case

_LABEL = re.compile(r"[a-z0-9_-]+")


@lru_cache(maxsize=256)
def load(der: bytes) -> x509.Certificate:
    """Return a certificate.  ValueError when it is none."""
    return x509.load_der_x509_certificate(der)


def key_digest(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo), as pins have it (RFC 7469 section 2.4)."""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()


def canonical(name: str) -> str:
    """Return a name as names are compared: in small letters, without the root's dot; an address in its one spelling."""
    if is_ip_address(name):
        return str(ipaddress.ip_address(name.partition("%")[0]))
    return name.lower().removesuffix(".")


def matches(pattern: str, name: str) -> bool:
    """Whether a name is the pattern's; a pattern's ``*.`` stands for exactly one label (RFC 9525 section 6.3).

    ``someone@mail`` and ``spiffe://mail`` are no labels, and neither is the ``*`` of a certificate.
    """
    pattern, name = canonical(pattern), canonical(name)
    if pattern.startswith("*."):
        label, _, rest = name.partition(".")
        return _LABEL.fullmatch(label) is not None and rest == pattern[2:]
    return pattern == name


def is_pattern(text: str) -> bool:
    """Whether some name of a peer can match it, as names stand in certificates: letters, digits, hyphens, dots."""
    labels = canonical(text).removeprefix("*.").split(".")
    return is_ip_address(text) or all(_LABEL.fullmatch(label) for label in labels)


def chain_with_issuers(case: Case) -> list[tuple[x509.Certificate, x509.Certificate]]:
    """Return each certificate of the verified chain below the anchor with its issuer, leaf first."""
    chain = [load(der) for der in case.verified]
    return list(pairwise(chain))
