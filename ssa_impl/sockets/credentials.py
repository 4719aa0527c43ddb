"""The certificates and keys that an application gives to its socket: read, and paired by their public keys.

Chains and keys may come in any order, several of each: each key goes with the chain whose leaf has its public key.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ..errors import ApplicationError, PolicyError
from ..policy.model import Identity

MISMATCH = "TLS_PRIVATE_KEY does not match TLS_CERTIFICATE_CHAIN"
_NOT_A_CERTIFICATE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_NOT_A_KEY = (ValueError, UnsupportedAlgorithm, InternalError)


def read_chain(data: bytes) -> bytes:
    """Return the chain in PEM, leaf first.  Raises ApplicationError(EINVAL) when ``data`` holds no certificate."""
    try:
        certificates = x509.load_pem_x509_certificates(data)
        certificates[0].public_key()
        certificates[0].extensions  # noqa: B018  # a server is chosen by the names in them
    except _NOT_A_CERTIFICATE:
        raise ApplicationError("TLS_CERTIFICATE_CHAIN holds no certificate in PEM form that can be used") from None
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def read_key(data: bytes) -> bytes:
    """Return the key as unencrypted PKCS #8.  Raises ApplicationError(EINVAL), for an encrypted key too."""
    load = serialization.load_pem_private_key if b"-----BEGIN" in data else serialization.load_der_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise ApplicationError("TLS_PRIVATE_KEY is encrypted: nobody is there to give the passphrase") from None
    except _NOT_A_KEY:
        raise ApplicationError("TLS_PRIVATE_KEY holds no key in PEM or DER form that can be used") from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class Credentials:
    """What one socket was given so far."""

    def __init__(self) -> None:
        self._chains: dict[bytes, bytes] = {}  # by public key
        self._keys: dict[bytes, bytes] = {}

    def add_chain(self, chain_pem: bytes) -> None:
        """Take a chain; one with the public key of an earlier one replaces it."""
        self._chains[_public(x509.load_pem_x509_certificate(chain_pem).public_key())] = chain_pem

    def add_key(self, key_der: bytes) -> None:
        """Take a key.  Raises PolicyError(EPROTO) when a chain waits for its key and this is not it."""
        public = _public(serialization.load_der_private_key(key_der, password=None).public_key())
        if self._chains.keys() - self._keys.keys() and public not in self._chains:
            raise PolicyError(MISMATCH)
        self._keys[public] = key_der

    def identities(self) -> tuple[Identity, ...]:
        """Return the pairs in the order of the chains.  Raises PolicyError(EPROTO) when something is left over."""
        if self._chains.keys() != self._keys.keys():
            if not self._keys:
                raise PolicyError("TLS_CERTIFICATE_CHAIN is set, and TLS_PRIVATE_KEY is not")
            raise PolicyError(MISMATCH if self._chains else "TLS_PRIVATE_KEY is set, and TLS_CERTIFICATE_CHAIN is not")
        return tuple(Identity(chain, self._keys[public]) for public, chain in self._chains.items())


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every public key of cryptography has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
