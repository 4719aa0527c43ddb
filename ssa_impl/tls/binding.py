"""Two OpenSSL functions that pyOpenSSL's binding has and its public interface does not wrap."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]


def session_reused(connection: SSL.Connection) -> bool:
    """Whether the handshake was abbreviated (SSL_session_reused(3))."""
    return bool(_lib.SSL_session_reused(connection._ssl) == 1)


def verification_text(code: int) -> str:
    """OpenSSL's words for an X509_V_ERR_* number (X509_verify_cert_error_string(3))."""
    text: bytes = _ffi.string(_lib.X509_verify_cert_error_string(code))
    return text.decode("ascii", "replace")
