"""What a handshake leaves for strategies to judge."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from OpenSSL import SSL, crypto

from ..policy.model import Role, Settings
from ..validation.model import Case
from .binding import stapled_response
from .reasons import objections, only_the_name


def gather(
    connection: SSL.Connection, settings: Settings, presented: Iterable[crypto.X509], now: datetime.datetime
) -> Case:
    """Return the case of a complete handshake; ``presented`` is the peer's chain, leaf first."""
    accepting = settings.role is Role.ACCEPTOR
    against = objections(connection)
    return Case(
        presented=tuple(map(_der, presented)),
        now=now,
        verified=tuple(map(_der, connection.get_verified_chain() or ())) if only_the_name(against) else (),
        hostname=settings.hostname or "",
        accepting=accepting,
        stapled=None if accepting else stapled_response(connection),
        openssl_code=against.codes[0] if against.codes else 0,
        openssl_text=against.texts[0] if against.texts else "",
        anchors_pem=settings.anchors_pem or b"",
        trust_system=settings.trust_system,
        profile=settings.profile,
    )


def _der(certificate: crypto.X509) -> bytes:
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)
