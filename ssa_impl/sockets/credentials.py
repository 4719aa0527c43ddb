"""The certificates and keys that an application gives to its socket, or names: read, and paired by public keys.

Chains and keys may come in any order, several of each: each key goes with the chain whose leaf has its public key.
"""

from __future__ import annotations

from collections.abc import Callable

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

Find = Callable[[str], Identity]
"""what a name of the policy's keys stands for; raises PolicyError"""
_Given = str | tuple[bytes, bytes]
"""a name, or public key and content"""


def no_names(name: str) -> Identity:
    """Refuse every name.  Raises PolicyError."""
    raise PolicyError(f"the policy has no key named {name}")


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
    """What one socket was given so far: contents, and names of the policy's keys.

    ``find`` gives what a name stands for, or raises PolicyError.  It is asked anew whenever the pairs are, so that a
    certificate that was renewed meanwhile is the one in use.
    """

    def __init__(self, find: Find = no_names) -> None:
        self._find = find
        self._chains: list[_Given] = []
        self._keys: list[_Given] = []

    def add_chain(self, chain: bytes | str) -> None:
        """Take a chain or a name; one with the public key of an earlier one replaces it."""
        self._chains.append(self._given(chain, lambda pem: x509.load_pem_x509_certificate(pem).public_key()))

    def add_key(self, key: bytes | str) -> None:
        """Take a key or a name.  Raises PolicyError(EPROTO) when a chain waits for its key and this is not it."""
        given = self._given(key, lambda der: serialization.load_der_private_key(der, password=None).public_key())
        chains = self._expanded_chains()
        if chains.keys() - self._expanded_keys().keys() and self._public(given) not in chains:
            raise PolicyError(MISMATCH)
        self._keys.append(given)

    def identities(self) -> tuple[Identity, ...]:
        """Return the pairs in the order of the chains.  Raises PolicyError(EPROTO) when something is left over."""
        chains, keys = self._expanded_chains(), self._expanded_keys()
        if chains.keys() != keys.keys():
            if not keys:
                raise PolicyError("TLS_CERTIFICATE_CHAIN is set, and TLS_PRIVATE_KEY is not")
            raise PolicyError(MISMATCH if chains else "TLS_PRIVATE_KEY is set, and TLS_CERTIFICATE_CHAIN is not")
        return tuple(Identity(chain, keys[public]) for public, chain in chains.items())

    @property
    def has_names(self) -> bool:
        """Whether something of it is the policy's, and can change while the socket lives."""
        return any(isinstance(given, str) for given in (*self._chains, *self._keys))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was given."""
        return not self._chains and not self._keys

    def _given(self, content: bytes | str, public_key: Callable[[bytes], object]) -> _Given:
        if isinstance(content, str):
            self._find(content)
            return content
        return public_bytes(public_key(content)), content

    def _public(self, given: _Given) -> bytes:
        if isinstance(given, str):
            return public_bytes(x509.load_pem_x509_certificate(self._find(given).chain_pem).public_key())
        return given[0]

    def _expanded_chains(self) -> dict[bytes, bytes]:
        """Return the chains by public key."""
        return {
            self._public(given): self._find(given).chain_pem if isinstance(given, str) else given[1]
            for given in self._chains
        }

    def _expanded_keys(self) -> dict[bytes, bytes]:
        """Return the keys by public key."""
        return {
            self._public(given): self._find(given).key_der if isinstance(given, str) else given[1]
            for given in self._keys
        }


def public_bytes(key: object) -> bytes:
    """Return a public key as SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7)."""
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]  # every public key of cryptography has it
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
