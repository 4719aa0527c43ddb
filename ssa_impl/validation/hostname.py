"""The peer's certificate must carry the name (or address) that the application asked for (RFC 9525)."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from ..errors import PeerError
from ..names import is_ip_address

_VERDICTS_KEPT = 1024


def check_name(connection: SSL.Connection, hostname: str) -> None:
    """Raise PeerError (EPROTO) unless the peer's certificate is for ``hostname``."""
    leaf = connection.get_peer_certificate()
    if leaf is None:
        raise PeerError("the peer sent no certificate")
    if objection := _objection(leaf.to_cryptography(), hostname):
        raise PeerError(objection)


@lru_cache(maxsize=_VERDICTS_KEPT)
def _objection(leaf: x509.Certificate, hostname: str) -> str:
    """Return why the certificate is not for the name, "" when it is: a pure function of the two."""
    verify = verify_certificate_ip_address if is_ip_address(hostname) else verify_certificate_hostname
    try:
        verify(leaf, hostname.rstrip("."))
    except VerificationError:
        return f"the peer's certificate is not for {hostname}"
    except (CertificateError, ValueError) as error:
        return f"the peer's certificate cannot be used: {error}"
    return ""
