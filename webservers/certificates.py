"""The test CA: certificates that are right, and certificates that are wrong in one known way (trustme)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

SERVER_NAME = "server.ssa.test"

KeyType = Literal["ecdsa-p256", "rsa-2048"]
Fault = Literal["none", "expired", "wrong-name"]

_KEY_TYPES: dict[KeyType, trustme.KeyType] = {
    "ecdsa-p256": trustme.KeyType.ECDSA,
    "rsa-2048": trustme.KeyType.RSA,
}


@dataclass(frozen=True)
class Credentials:
    """The files that a server, and a client that should trust it, are given."""

    ca: Path  # PEM of the CA that signed the leaf
    chain: Path  # PEM, leaf first
    key: Path  # PEM, mode 0600
    key_type: KeyType
    server_name: str


class Authority:
    """A CA that exists only for one campaign or test.  Two of them do not trust each other."""

    def __init__(self, ca: trustme.CA, key_type: KeyType) -> None:
        self._ca = ca
        self.key_type: KeyType = key_type

    @classmethod
    def create(cls, key_type: KeyType = "ecdsa-p256") -> Authority:
        """Make a new CA.  Its own key is of ``key_type``, so that a chain has one kind of signature."""
        return cls(trustme.CA(key_type=_KEY_TYPES[key_type]), key_type)

    @property
    def pem(self) -> bytes:
        """The CA's certificate."""
        return self._ca.cert_pem.bytes()

    def revocation_list(self) -> bytes:
        """A list of nobody, PEM, that holds for a day."""
        now = datetime.now(UTC)
        key = load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        builder = x509.CertificateRevocationListBuilder(x509.load_pem_x509_certificate(self.pem).subject)
        builder = builder.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
        made = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]  # trustme's keys can sign
        return made.public_bytes(Encoding.PEM)

    def issue(
        self,
        directory: Path,
        *,
        key_type: KeyType = "ecdsa-p256",
        server_name: str = SERVER_NAME,
        addresses: Sequence[str] = ("127.0.0.1", "::1"),
        fault: Fault = "none",
    ) -> Credentials:
        """Write ca.pem, chain.pem and key.pem (0600) for one server into ``directory``, which is made if
        missing.

        ``addresses`` are IP literals that the leaf is also good for.  ``fault`` makes a leaf that must be
        refused: ``expired`` ended yesterday; ``wrong-name`` is for ``other.ssa.test`` and no address.  (For
        an untrusted one let another Authority issue it.)
        """
        names = ["other.ssa.test"] if fault == "wrong-name" else [server_name, *addresses]
        now = datetime.now(UTC)
        ended = now - timedelta(days=1) if fault == "expired" else None
        begun = now - timedelta(days=30) if fault == "expired" else None
        leaf = self._ca.issue_cert(*names, key_type=_KEY_TYPES[key_type], not_before=begun, not_after=ended)
        directory.mkdir(parents=True, exist_ok=True)
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return Credentials(
            ca=_write(directory / "ca.pem", self.pem, 0o644),
            chain=_write(directory / "chain.pem", chain, 0o644),
            key=_write(directory / "key.pem", leaf.private_key_pem.bytes(), 0o600),
            key_type=key_type,
            server_name=server_name,
        )


def key_type_of(der: bytes) -> str:
    """``ecdsa-p256``, ``rsa-2048`` and the like, of a certificate in DER.  ValueError if it is not one."""
    key = x509.load_der_x509_certificate(der).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ecdsa-p{key.curve.key_size}"
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return type(key).__name__


def _write(path: Path, data: bytes, mode: int) -> Path:
    """Never exists with more rights than ``mode``, not even for a moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    return path
