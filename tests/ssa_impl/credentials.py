"""Certificates with their keys, as applications have them; each kind is made once in a test run."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from ssa_impl.policy.model import Identity
from tests.certificates import NAME

Key = CertificateIssuerPrivateKeyTypes


@dataclass(frozen=True)
class Credential:
    """A chain (PEM, leaf first) and its key (PEM)."""

    chain: bytes
    key: bytes

    @property
    def key_der(self) -> bytes:
        """The key as unencrypted PKCS #8."""
        return key_as(self.key)

    @property
    def identity(self) -> Identity:
        """What the policy makes of the two."""
        return Identity(self.chain, self.key_der)

    def load_into(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """Let a peer present it."""
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(self.key + self.chain)
            context.load_cert_chain(file.name)
        return context


def key_as(
    pem: bytes,
    encoding: serialization.Encoding = serialization.Encoding.DER,
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    passphrase: bytes | None = None,
) -> bytes:
    """Return a key in another form."""
    encryption = (
        serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
    )
    return serialization.load_pem_private_key(pem, None).private_bytes(encoding, form, encryption)


@cache
def ca() -> trustme.CA:
    """Return the authority that both sides trust."""
    return trustme.CA()


@cache
def intermediate() -> trustme.CA:
    """Return an authority under it."""
    return ca().create_child_ca()


@cache
def stranger() -> trustme.CA:
    """Return an authority that nobody trusts."""
    return trustme.CA(organization_name="A stranger")


def anchors() -> bytes:
    """Return what those who trust the authority are given."""
    return ca().cert_pem.bytes()


@cache
def issued(
    *names: str,
    is_rsa: bool = False,
    deep: bool = False,
    strange: bool = False,
    expired: bool = False,
    common_name: str | None = None,
) -> Credential:
    """Return a certificate for ``names``; ``deep``: with an intermediate; ``strange``: by somebody unknown."""
    issuer = stranger() if strange else intermediate() if deep else ca()
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    leaf = issuer.issue_cert(
        *(names or (NAME,)),
        common_name=common_name,
        not_before=yesterday - datetime.timedelta(days=1),
        not_after=yesterday if expired else None,
        key_type=trustme.KeyType.RSA if is_rsa else trustme.KeyType.ECDSA,
    )
    return Credential(b"".join(part.bytes() for part in leaf.cert_chain_pems), leaf.private_key_pem.bytes())


def new_key(kind: str) -> Key:
    """Return a fresh key: P-256, P-384, Ed25519, or RSA-BITS."""
    match kind:
        case "P-256":
            return ec.generate_private_key(ec.SECP256R1())
        case "P-384":
            return ec.generate_private_key(ec.SECP384R1())
        case "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))


@cache
def self_signed(kind: str = "P-256", *names: str, label: str = "") -> Credential:
    """Return a certificate that signs for itself; another ``label``: another certificate of the same kind."""
    return sign_for_itself(
        new_key(kind), *([x509.SubjectAlternativeName(list(map(x509.DNSName, names)))] * bool(names))
    )


def sign_for_itself(key: Key, *extensions: x509.ExtensionType, common_name: str = NAME) -> Credential:
    """Return a certificate with these extensions."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Credential(builder.sign(key, digest).public_bytes(serialization.Encoding.PEM), private)
