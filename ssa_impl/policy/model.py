"""The administrator's policy, what an application requests, and the settings that come of both."""

from __future__ import annotations

from dataclasses import dataclass

TLS_1_2 = 0x0303
TLS_1_3 = 0x0304


@dataclass(frozen=True)
class Policy:
    """What applies to every application; the defaults are the built-in policy."""

    version_min: int = TLS_1_2
    """lowest TLS version, wire number"""
    version_max: int = TLS_1_3
    """highest TLS version, wire number"""
    honour_application_anchors: bool = True
    """whether TLS_TRUSTED_PEER_CERTIFICATES replaces the system's trust store"""
    hostname_required: bool = True
    """whether a connect without TLS_REMOTE_HOSTNAME is refused"""
    truncation_allowed: bool = False
    """whether a peer's FIN without close_notify counts as a regular end of file"""
    verify_depth: int = 10
    """intermediate certificates allowed in a chain"""
    handshake_timeout_s: float = 60.0
    """from the TCP connection to the end of the handshake"""


@dataclass(frozen=True)
class Request:
    """What the application set on its socket before connect; None and () where it said nothing."""

    hostname: str | None = None
    anchors_pem: bytes | None = None
    alpn: tuple[str, ...] = ()
    version_min: int | None = None
    version_max: int | None = None


@dataclass(frozen=True)
class Settings:
    """Everything the engine needs for one connection, and nothing else."""

    hostname: str | None
    anchors_pem: bytes | None
    """PEM anchors, None for the system's trust store"""
    alpn: tuple[str, ...]
    version_min: int
    version_max: int
    verify_depth: int
    truncation_allowed: bool
    handshake_timeout_s: float
