"""What a handshake leaves for strategies to judge, and what OpenSSL says of the same chain later on."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from cryptography.exceptions import UnsupportedAlgorithm
from OpenSSL import SSL, crypto

from ..policy.model import Role, Settings
from ..validation.model import Case
from .binding import name_objection, stapled_response, why_unusable
from .reasons import VerifyFailure, objections, only_the_name

_EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK = 66, 67, 68
"""X509_V_ERR_* of x509_vfy.h, which pyOpenSSL does not name"""
_LEVEL_BITS = (0, 80, 112, 128, 192, 256)
"""least strength at each security level (SSL_CTX_set_security_level(3))"""
_WEAK_DIGESTS = {"sha1": 63, "md5": 39}
"""those that are weaker than half their bits"""


def gather(
    connection: SSL.Connection, settings: Settings, presented: Iterable[crypto.X509], now: datetime.datetime
) -> Case:
    """Return the case of a complete handshake; ``presented`` is the peer's chain, leaf first."""
    stapled = None if settings.role is Role.ACCEPTOR else stapled_response(connection)
    verified = connection.get_verified_chain() or ()
    return _case(
        settings,
        presented=tuple(map(to_der, presented)),
        verified=verified,
        against=objections(connection),
        stapled=stapled,
        now=now,
    )


def gather_again(
    context: SSL.Context,
    settings: Settings,
    presented: tuple[bytes, ...],
    stapled: bytes | None,
    now: datetime.datetime,
) -> Case:
    """Return the case of a peer that shook hands under other settings: what OpenSSL would say under these, now.

    ``context`` is the settings' verifier.  No handshake is made, so nothing is known of how the peer would sign today.
    """
    verified, against = _verify(context, settings, presented)
    return _case(settings, presented=presented, verified=verified, against=against, stapled=stapled, now=now)


def _case(
    settings: Settings,
    *,
    presented: tuple[bytes, ...],
    verified: Iterable[crypto.X509],
    against: VerifyFailure,
    stapled: bytes | None,
    now: datetime.datetime,
) -> Case:
    return Case(
        presented=presented,
        now=now,
        verified=tuple(map(to_der, verified)) if only_the_name(against) else (),
        hostname=settings.hostname or "",
        accepting=settings.role is Role.ACCEPTOR,
        stapled=stapled,
        openssl_code=against.codes[0] if against.codes else 0,
        openssl_text=against.texts[0] if against.texts else "",
        anchors_pem=settings.anchors_pem or b"",
        trust_system=settings.trust_system,
        profile=settings.profile,
    )


def _verify(
    context: SSL.Context, settings: Settings, presented: tuple[bytes, ...]
) -> tuple[Sequence[crypto.X509], VerifyFailure]:
    """Verify as a handshake does: trust, dates, purposes and depth, then strength, then the name."""
    against = VerifyFailure()
    store = context.get_cert_store()
    if not presented or store is None:
        return (), against
    leaf, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in presented)
    try:
        verified = crypto.X509StoreContext(store, leaf, others).get_verified_chain()
    except crypto.X509StoreContextError as error:
        against.note(*error.errors[:2])
        return (), against
    for code, depth in _too_weak(verified, settings.security_level):
        against.note(code, depth)
    if settings.hostname is not None and (code := name_objection(leaf, settings.hostname)):
        against.note(code, 0)
    return verified, against


def _too_weak(verified: Sequence[crypto.X509], level: int) -> Iterator[tuple[int, int]]:
    """Yield X509_V_ERR_* and depth of what is below a security level: keys, and digests below the trust anchor.

    OpenSSL says itself of which key it would take a certificate; a signature without a digest is as strong as its key.
    """
    scale = _scale(level)
    for depth, certificate in enumerate(verified):
        if "key too small" in why_unusable(scale, certificate):
            yield (_CA_KEY_TOO_SMALL if depth else _EE_KEY_TOO_SMALL), depth
        if depth < len(verified) - 1 and _digest_bits(certificate) < _LEVEL_BITS[level]:
            yield _CA_MD_TOO_WEAK, depth


@cache
def _scale(level: int) -> SSL.Context:
    """Return a context that takes no key below a security level."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(f"DEFAULT:@SECLEVEL={level}".encode("ascii"))
    return context


def _digest_bits(certificate: crypto.X509) -> float:
    """Return how strong the digest of a certificate's signature is, as OpenSSL has it (X509_get_signature_info(3))."""
    try:
        digest = certificate.to_cryptography().signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):  # nobody can say
        return 0
    return math.inf if digest is None else _WEAK_DIGESTS.get(digest.name, digest.digest_size * 4)


def to_der(certificate: crypto.X509) -> bytes:
    """Return a certificate as DER."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
