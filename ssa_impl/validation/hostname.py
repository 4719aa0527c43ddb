"""The peer's certificate must carry the name (or address) that the application asked for (RFC 9525)."""

from __future__ import annotations

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from ..errors import PeerError
from ..sockets.values import is_ip_address


def check_name(connection: SSL.Connection, hostname: str) -> None:
    """Raise PeerError (EPROTO) unless the peer's certificate is for ``hostname``."""
    verify = verify_ip_address if is_ip_address(hostname) else verify_hostname
    try:
        verify(connection, hostname.rstrip("."))
    except VerificationError:
        raise PeerError(f"the peer's certificate is not for {hostname}") from None
    except CertificateError as error:
        raise PeerError(f"the peer's certificate cannot be used: {error}") from None
    except ValueError as error:
        raise PeerError(f"the peer's certificate cannot be read: {error}") from None
