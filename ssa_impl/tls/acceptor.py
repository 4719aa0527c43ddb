"""What an acceptor decides during the handshake: which certificate for which name, which protocol, what is stapled.

OpenSSL asks through callbacks of the context; they are pure functions of the settings and the initiator's wishes, but
for the stapled answer: that changes while the context may not, so each connection brings a way to look it up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto

from ..policy.model import Identity

Staple = Callable[[bytes], bytes]
"""certificate in DER to the OCSP answer about it that holds now, b"" for none"""
_staples: WeakKeyDictionary[SSL.Connection, Staple] = WeakKeyDictionary()


class NoCommonProtocol(Exception):
    """The initiator offers protocols, and none of them is ours (RFC 7301 section 3.2)."""


def select_protocol(ours: Sequence[str]) -> Callable[[object, list[bytes]], bytes]:
    """Return the callback that picks the first of ``ours`` that the initiator offers."""
    names = [name.encode("ascii") for name in ours]

    def select(_connection: object, offered: list[bytes]) -> bytes:
        for name in names:
            if name in offered:
                return name
        raise NoCommonProtocol

    return select


def staple_from(connection: SSL.Connection, look_up: Staple) -> None:
    """Let a connection staple what ``look_up`` has, if its context staples."""
    _staples[connection] = look_up


def staple(connection: SSL.Connection, _data: object) -> bytes:
    """Return the answer about the chosen certificate, b"" for none (SSL_CTX_set_tlsext_status_cb(3))."""
    look_up, presented = _staples.get(connection), connection.get_certificate()
    if look_up is None or presented is None:
        return b""
    return look_up(crypto.dump_certificate(crypto.FILETYPE_ASN1, presented))


def choose(identities: tuple[Identity, ...], server_name: str) -> tuple[Identity, ...]:
    """Return the identities to offer to an initiator that asks for ``server_name`` ("" when for nobody).

    Those whose certificate has the very name, else those with a wildcard for it, else the first one; in each case one
    for each type of key, so that the initiator's signature algorithms decide between RSA and ECDSA.
    """
    name = server_name.lower().rstrip(".")
    wildcard = "*." + name.partition(".")[2]
    for wanted in (name, wildcard):
        if found := [identity for identity in identities if wanted in _names(identity.chain_pem)]:
            return _one_of_each_type(found)
    first = _names(identities[0].chain_pem)
    alike = [identity for identity in identities if identity is identities[0] or first & _names(identity.chain_pem)]
    return _one_of_each_type(alike)


def is_ours(server_names: Sequence[str], server_name: str) -> bool:
    """Whether an acceptor that answers to ``server_names`` answers to this one; an initiator need not name anybody."""
    return not server_names or not server_name or _canonical(server_name) in map(_canonical, server_names)


def _canonical(name: str) -> str:
    return name.lower().rstrip(".")


def _one_of_each_type(identities: Sequence[Identity]) -> tuple[Identity, ...]:
    by_type: dict[str, Identity] = {}
    for identity in identities:
        by_type.setdefault(_key_type(identity.chain_pem), identity)
    return tuple(by_type.values())


@lru_cache(maxsize=256)
def _names(chain_pem: bytes) -> frozenset[str]:
    leaf = x509.load_pem_x509_certificate(chain_pem)
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(map(_canonical, names.get_values_for_type(x509.DNSName)))


@lru_cache(maxsize=256)
def _key_type(chain_pem: bytes) -> str:
    """Return which of OpenSSL's places for a certificate this one takes: one for all curves of ECDSA."""
    key = x509.load_pem_x509_certificate(chain_pem).public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA"
    return "RSA" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__
