"""Every key that a profile can have: how its value is read, how it is shown, and what it means.

The reference in ``docs/administrators/policy.md`` is made of this table, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..abi import Opt
from . import shapes
from .ciphers import is_tls_1_3
from .model import Profile

Reader = Callable[[object], Any]
"""TOML's value to the profile's; raises Wrong"""


@dataclass(frozen=True)
class Key:
    """One key of ``[defaults]`` and ``[profile.NAME]``."""

    name: str
    type: str
    read: Reader
    show: Callable[[Profile], object]
    """the value in force, as TOML has it"""
    meaning: str


REVOCATION = {
    "stapled": Opt.TLS_OCSP_STAPLED_CHECKS,
    "ocsp": Opt.TLS_OCSP_CHECKS,
    "crl": Opt.TLS_CRL_CHECKS,
    "cached": Opt.TLS_CACHED_REV_CHECKS,
}
SCOPES = ("application", "user")


def _field(name: str) -> Callable[[Profile], object]:
    return lambda profile: _listed(getattr(profile, name))


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _or(word: str, name: str) -> Callable[[Profile], object]:
    return lambda profile: _listed(getattr(profile, name)) or word


def _ciphers(new: bool) -> Callable[[Profile], object]:
    return lambda profile: [name for name in profile.ciphers if is_tls_1_3(name) is new]


_ROWS = (
    Key("version_min", "version", shapes.version, lambda p: shapes.VERSION_NAMES[p.version_min],
        "lowest TLS version: \"1.2\" or \"1.3\" (older ones are never spoken, RFC 8996)"),
    Key("version_max", "version", shapes.version, lambda p: shapes.VERSION_NAMES[p.version_max],
        "highest TLS version"),
    Key("suites", "names or \"default\"", shapes.suites, _ciphers(new=True),
        "cipher suites of TLS 1.3, best first; \"default\": OpenSSL's own"),
    Key("ciphers", "names or \"default\"", shapes.ciphers, _ciphers(new=False),
        "ciphers of TLS 1.2, OpenSSL's names, best first; \"default\": OpenSSL's own"),
    Key("groups", "names or \"default\"", shapes.groups, _or("default", "groups"),
        "groups for the key exchange, best first; \"default\": OpenSSL's own"),
    Key("signature_algorithms", "names or \"default\"", shapes.signature_algorithms,
        _or("default", "signature_algorithms"),
        "signature algorithms of handshake and certificates, best first; \"default\": OpenSSL's own"),
    Key("security_level", "0 to 5", shapes.whole(0, 5), _field("security_level"),
        "least strength of keys, certificates and ciphers (SSL_CTX_set_security_level(3))"),
    Key("alpn", "names or \"any\"", shapes.protocols,
        lambda p: "any" if p.alpn_allowed is None else list(p.alpn_allowed),
        "protocols that an application may name in TLS_ALPN; `[]` for none"),
    Key("send_server_name", "boolean", shapes.boolean, _field("send_server_name"),
        "whether a client names the server in the clear (SNI)"),
    Key("trust_store", "list of \"system\" and paths", shapes.trust_store, _field("trust_store"),
        "whose certificates are anchors: the system's, and PEM files and directories (`*.pem`, `*.crt`)"),
    Key("application_anchors", "boolean", shapes.boolean, _field("honour_application_anchors"),
        "whether an application's TLS_TRUSTED_PEER_CERTIFICATES replaces the trust store; otherwise it is refused"),
    Key("hostname_required", "boolean", shapes.boolean, _field("hostname_required"),
        "whether a connect without TLS_REMOTE_HOSTNAME is refused; a name that is set is always checked"),
    Key("verify_depth", "0 to 100", shapes.whole(0, 100), _field("verify_depth"),
        "intermediate certificates allowed in a chain"),
    Key("client_certificate_required", "boolean", shapes.boolean, _field("client_certificate_required"),
        "whether a server asks each client for a certificate, whatever the application says"),
    Key("revocation_sources", "list of " + ", ".join(f"\"{name}\"" for name in REVOCATION),
        shapes.one_of_each(REVOCATION),
        lambda p: [name for name, option in REVOCATION.items() if option in p.revocation_sources],
        "revocation checks that an application can switch on; what it must not switch off stands in `validation`"),
    Key("session_reuse", "boolean", shapes.boolean, _field("session_reuse_allowed"),
        "whether applications may resume sessions (TLS_SESSION_REUSE)"),
    Key("session_ttl_s", "0 to 604800", shapes.whole(0, 604_800), _field("session_ttl_s"),
        "seconds for which a session may be resumed at most (RFC 8446 section 4.6.1: seven days)"),
    Key("session_scope", "\"application\" or \"user\"", shapes.word(SCOPES), _field("session_scope"),
        "who shares a client's sessions: one user's processes of one program, or all of the user's"),
    Key("staple", "boolean", shapes.boolean, _field("staple"),
        "whether a server staples the OCSP answers about its certificates, whatever the application says"),
    Key("keys", "list of names", shapes.names, _field("keys"),
        "named keys (`[key.NAME]`) that a server presents when its application gives none"),
    Key("truncation_allowed", "boolean", shapes.boolean, _field("truncation_allowed"),
        "whether a peer's FIN without close_notify counts as a regular end"),
    Key("key_log", "path or \"\"", shapes.path_or_empty, _field("key_log"),
        "file to which the secrets of connections are appended (SSLKEYLOGFILE's format): for debugging alone"),
    Key("handshake_timeout_s", "0.1 to 3600", shapes.number(0.1, 3600), _field("handshake_timeout_s"),
        "seconds from the TCP connection to the end of the handshake, as client"),
    Key("accept_timeout_s", "0.1 to 3600", shapes.number(0.1, 3600), _field("accept_timeout_s"),
        "the same as server"),
    Key("pending_handshakes", "1 to 65536", shapes.whole(1, 65_536), _field("pending_handshakes"),
        "handshakes of one listener under way in one worker; the oldest gives way"),
    Key("sockets_per_user", "1 to 1000000", shapes.whole(1, 1_000_000), _field("sockets_per_user"),
        "secure sockets of one user, peers in a handshake included; beyond, socket() fails with ENOBUFS"),
)  # fmt: skip

KEYS = {key.name: key for key in _ROWS}
"""The table, by name."""

FIELDS = {"application_anchors": "honour_application_anchors", "session_reuse": "session_reuse_allowed",
          "alpn": "alpn_allowed"}  # fmt: skip
"""the profile's field of each key that is not called like it; ``suites`` and ``ciphers`` are one field"""

STRUCTURE = ("extends", "import", "validation")
"""what a profile's table can have besides"""


def shown(profile: Profile) -> dict[str, object]:
    """Return every key with the value in force, as TOML has it."""
    return {key.name: key.show(profile) for key in _ROWS}


def reference() -> str:
    """Return the table for the documentation, in Markdown."""
    built_in = shown(Profile())
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for key in _ROWS:
        default = '`"default"`' if key.name in {"suites", "ciphers"} else f"`{toml(built_in[key.name])}`"
        rows.append(f"| `{key.name}` | {key.type} | {default} | {key.meaning} |")
    return "\n".join(rows) + "\n"


def toml(value: object) -> str:
    """Write one value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
