"""The administrator's policy, what an application requests, and the settings that come of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from ..abi import Opt
from .ciphers import default_ciphers

TLS_1_2 = 0x0303
TLS_1_3 = 0x0304


@dataclass(frozen=True)
class Profile:
    """What applies to one application; the defaults are the built-in profile."""

    name: str = "default"

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
    """from the TCP connection to the end of the handshake, as initiator"""
    accept_timeout_s: float = 20.0
    """from the TCP connection to the end of the handshake, as acceptor"""
    pending_handshakes: int = 1024
    """handshakes of one listener under way in one worker; the oldest gives way"""
    sockets_per_user: int = 16_384
    """secure sockets of one user in one worker; socket() fails with ENOBUFS beyond, and peers are turned away"""
    ciphers: tuple[str, ...] = field(default_factory=default_ciphers)
    """cipher suites allowed, OpenSSL's names, best first"""
    session_reuse_allowed: bool = True
    """whether applications may resume sessions (TLS_SESSION_REUSE); none are resumed until one asks"""
    session_ttl_s: int = 300
    """how long a session may be resumed at most"""
    revocation_sources: frozenset[Opt] = frozenset()
    """which of the revocation options an application can switch on"""


@dataclass(frozen=True)
class Identity:
    """A certificate to present, and its key."""

    chain_pem: bytes
    """leaf first"""
    key_der: bytes = field(repr=False)
    """PKCS #8, unencrypted (RFC 5208)"""


@dataclass(frozen=True)
class Request:
    """What the application set on its socket before connect or listen; None and () where it said nothing."""

    hostname: str | None = None
    anchors_pem: bytes | None = None
    alpn: tuple[str, ...] = ()
    version_min: int | None = None
    version_max: int | None = None
    identities: tuple[Identity, ...] = ()
    server_names: tuple[str, ...] = ()
    request_peer_auth: bool = False
    disabled_ciphers: frozenset[str] = frozenset()
    session_reuse: bool = False
    session_ttl_s: int | None = None


class Role(Enum):
    """Which end of the handshake a socket is."""

    INITIATOR = auto()
    ACCEPTOR = auto()


@dataclass(frozen=True)
class Settings:
    """Everything the engine needs for one connection, and nothing else."""

    role: Role
    hostname: str | None
    """initiator: name that the peer must prove"""
    server_names: tuple[str, ...]
    """acceptor: names to answer to, () for all"""
    anchors_pem: bytes | None
    """PEM anchors, None for the system's trust store"""
    identities: tuple[Identity, ...]
    authenticate_peer: bool
    """always as initiator; as acceptor when the application asks for it"""
    alpn: tuple[str, ...]
    version_min: int
    version_max: int
    ciphers: tuple[str, ...]
    session_ttl_s: int
    """0: no session is kept or resumed"""
    verify_depth: int
    truncation_allowed: bool
    handshake_timeout_s: float
