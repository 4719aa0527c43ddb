"""The administrator's policy, what an application requests, and the settings that come of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from ..abi import Opt
from ..validation.model import Choice, Validation
from .ciphers import default_ciphers

TLS_1_2 = 0x0303
TLS_1_3 = 0x0304
SECURITY_LEVEL = 2
"""OpenSSL's own (SSL_CTX_get_security_level(3))"""


@dataclass(frozen=True)
class Origin:
    """Where a value of the policy stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Profile:
    """What applies to one application; the defaults are the built-in profile."""

    name: str = "default"
    origins: Mapping[str, Origin] = field(default_factory=dict, compare=False, repr=False)
    """where the value of each key stands; a key that no file sets is built in"""

    version_min: int = TLS_1_2
    """lowest TLS version, wire number"""
    version_max: int = TLS_1_3
    """highest TLS version, wire number"""
    groups: tuple[str, ...] = ()
    """groups for the key exchange, OpenSSL's names, best first; () for OpenSSL's own"""
    signature_algorithms: tuple[str, ...] = ()
    """signature algorithms, OpenSSL's names, best first; () for OpenSSL's own"""
    security_level: int = SECURITY_LEVEL
    """0 to 5: least strength of keys, certificates and ciphers (SSL_CTX_set_security_level(3))"""
    alpn_allowed: tuple[str, ...] | None = None
    """protocols that applications may name in TLS_ALPN, None for any"""
    send_server_name: bool = True
    """whether an initiator names the server in the clear (SNI, RFC 6066 section 3)"""
    trust_store: tuple[str, ...] = ("system",)
    """whose anchors are trusted: "system", and paths of PEM files and directories"""
    trust_anchors_pem: bytes = field(default=b"", repr=False)
    """what the paths in ``trust_store`` held when the policy was loaded"""
    honour_application_anchors: bool = True
    """whether TLS_TRUSTED_PEER_CERTIFICATES replaces this trust store"""
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
    """secure sockets of one user; socket() fails with ENOBUFS beyond, and peers are turned away"""
    ciphers: tuple[str, ...] = field(default_factory=default_ciphers)
    """cipher suites allowed, OpenSSL's names, best first"""
    session_reuse_allowed: bool = True
    """whether applications may resume sessions (TLS_SESSION_REUSE); none are resumed until one asks"""
    session_ttl_s: int = 300
    """how long a session may be resumed at most"""
    revocation_sources: frozenset[Opt] = frozenset()
    """which of the revocation options an application can switch on"""
    session_scope: str = "application"
    """who shares the sessions of initiators: the user's processes of one "application", or all of the "user"'s"""
    client_certificate_required: bool = False
    """whether an acceptor asks for its peer's certificate, whatever the application says"""
    staple: bool = False
    """whether an acceptor staples OCSP answers (RFC 6066 section 8), whatever the application says"""
    keys: tuple[str, ...] = ()
    """named keys that are presented when the application gives none"""
    key_log: str = ""
    """file to which TLS secrets are written (SSLKEYLOGFILE's format), "" for none"""
    validation: Validation | None = None
    """who judges the peer, None: OpenSSL alone"""

    @property
    def trust_system(self) -> bool:
        """Whether the system's trust store is trusted."""
        return "system" in self.trust_store

    def rule(self, key: str) -> str:
        """Say which rule of which profile refuses something, for the end of a sentence."""
        origin = self.origins.get(key)
        return f"(profile {self.name}, {key} {f'at {origin}' if origin else 'built in'})"


@dataclass(frozen=True)
class NamedKey:
    """A certificate chain and its key, which applications use without being able to read them."""

    name: str
    chain: str
    """absolute path of the chain in PEM, leaf first"""
    key: str
    """absolute path of the key, PEM or DER, not encrypted"""
    profiles: frozenset[str]
    """names of the profiles that may use it"""
    paths: frozenset[str] = frozenset()
    """further absolute paths by which applications name it"""


@dataclass(frozen=True)
class DaemonLimits:
    """What holds for the daemon as a whole."""

    drain_timeout_s: float = 0.0
    """how long open connections may go on after the daemon was asked to stop"""
    sockets: int = 65_536
    """secure sockets of all users together"""
    require_landlock: bool = False
    """whether workers must be under Landlock: ssad does not start where the kernel has none"""


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
    revocation: frozenset[Opt] = frozenset()
    """revocation options that it switched on"""
    staple: bool = False


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
    """PEM anchors, None for the system's trust store alone"""
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
    profile: str = "default"
    """name of the profile that these come from"""
    groups: tuple[str, ...] = ()
    signature_algorithms: tuple[str, ...] = ()
    security_level: int = SECURITY_LEVEL
    send_server_name: bool = True
    trust_system: bool = True
    """whether the system's trust store is trusted; beside ``anchors_pem`` if there are any"""
    key_log: str = ""
    validation: Validation | None = None
    staple: Choice | None = None
    """acceptor: how responders are asked for the answers that are stapled, None: nothing is stapled"""
