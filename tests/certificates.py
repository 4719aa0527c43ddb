"""Certificates for the tests: one authority, and server credentials with every fault that a verifier must see."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from functools import cache
from pathlib import Path

import trustme

NAME = "server.ssa.test"
"""the name for which honest servers have a certificate"""


class Authority:
    """A certificate authority whose keys live as long as the test run."""

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._stranger = trustme.CA(organization_name="A stranger")

    @property
    def anchors_pem(self) -> bytes:
        """What an application passes as its trust anchors."""
        return self._ca.cert_pem.bytes()

    def credentials(self, fault: str = "", *, rsa: bool = False) -> trustme.LeafCert:
        """Return a server's certificate; ``fault``: "", "name", "expired" or "untrusted"."""
        return self._issue(fault, rsa)

    @cache  # noqa: B019  # there is one authority in a test run
    def _issue(self, fault: str, rsa: bool) -> trustme.LeafCert:
        issuer = self._stranger if fault == "untrusted" else self._ca
        name = "elsewhere.ssa.test" if fault == "name" else NAME
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        return issuer.issue_cert(
            name,
            *([] if fault == "name" else ["127.0.0.1", "::1"]),
            not_before=yesterday - datetime.timedelta(days=1),
            not_after=yesterday if fault == "expired" else None,
            key_type=trustme.KeyType.RSA if rsa else trustme.KeyType.ECDSA,
        )

    def server_context(self, fault: str = "", *, rsa: bool = False) -> ssl.SSLContext:
        """Return a server's context with such a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.credentials(fault, rsa=rsa).configure_cert(context)
        return context

    def chain_pem(self, fault: str = "") -> bytes:
        """Return key and chain of a server, as a file for ``load_cert_chain``."""
        return self.credentials(fault).private_key_and_cert_chain_pem.bytes()


@cache
def authority() -> Authority:
    """Return the authority of this test run."""
    return Authority()


@cache
def self_signed_pem() -> bytes:
    """Return key and certificate of a server that signed for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def context_from_pem(pem: bytes, ciphers: str = "DEFAULT") -> ssl.SSLContext:
    """Return a server's context from key and chain in one piece."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(pem)
        context.load_cert_chain(file.name)
    return context
