"""Failures, by whose fault they are.  Each carries the errno and the sentence that the application will see.

A class exists because someone catches it or counts it; the errno is that of SSA_SPEC section 3.
"""

from __future__ import annotations

import errno as _errno


class SsaError(Exception):
    """Base of all failures that an application is told about.

    :ivar errno: what the failing call (or SO_ERROR) returns
    :ivar text: one sentence, readable through TLS_ERROR
    """

    default_errno = _errno.EPROTO

    def __init__(self, text: str, errno: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.errno = self.default_errno if errno is None else errno


class ApplicationError(SsaError):
    """The application passed a bad value, or called in the wrong phase."""

    default_errno = _errno.EINVAL


class PolicyError(SsaError):
    """The application asked for something weaker than the administrator allows."""


class PeerError(SsaError):
    """The peer failed the handshake or the validation, speaks no TLS, or broke the protocol."""


class CertificateError(PeerError):
    """The peer's certificate was refused: its chain, its names, or a verdict on it."""


class HandshakeTimeoutError(PeerError):
    """The peer took longer to shake hands than the policy allows."""


class NetworkError(SsaError):
    """TCP failed; the errno is the kernel's own."""

    @classmethod
    def from_os(cls, doing: str, error: OSError) -> NetworkError:
        """Wrap the kernel's answer to a socket call."""
        reason = error.strerror or str(error)
        return cls(f"{doing}: {reason}", error.errno or _errno.EIO)


class TruncationError(PeerError):
    """The peer's stream ended without close_notify (RFC 8446 section 6.1): it may have been cut."""

    default_errno = _errno.ECONNRESET


class DaemonError(SsaError):
    """The daemon could not serve: a limit, a missing trust store, its own failure."""

    default_errno = _errno.ENOBUFS


class LimitError(DaemonError):
    """The administrator's limit of secure sockets is reached."""
