"""Every number of the Secure Socket API, in one table (SSA_SPEC section 1; O'Neill et al. 2018, table 1).

The C header ``include/in_tls.h`` and ``docs/reference.md`` are generated from this file
(``python -m ssa_impl.cli.generate``); a test fails when they are stale.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

IPPROTO_TLS = 205
"""Third argument of socket() and level of the options: 715 mod 255, not assigned by IANA."""

MAX_HOSTNAME_BYTES = 255
"""Longest value of a hostname, the terminating NUL included."""

MAX_VALUE_BYTES = 256 * 1024
"""Longest option value that crosses the boundary in either direction."""

MAX_FILE_BYTES = 16 * MAX_VALUE_BYTES
"""Largest file that an option can name."""


NAME_PREFIX = b"name:"
"""What begins a value of TLS_CERTIFICATE_CHAIN or TLS_PRIVATE_KEY that names a key of the administrator's policy.

It is never a path; a file whose name begins so is written ``./name:...``.
"""


AF_HOSTNAME = 715
"""Family of ``struct sockaddr_host``, for connect() only.

The prototypes' 43 is AF_SMC in today's Linux; families of socket() end far below this number, and it fits sa_family_t.
"""

TCP_UPGRADE_TLS = 205
"""Option at IPPROTO_TCP that turns a connected TCP socket into a TLS socket.

The prototypes' 33 is TCP_FASTOPEN_KEY in today's Linux; its own options count up from 1 and are below 50.
"""


class Opt(enum.IntEnum):
    """The options' numbers, under the names that C and Python programs use."""

    TLS_REMOTE_HOSTNAME = 85
    TLS_HOSTNAME = 86
    TLS_TRUSTED_PEER_CERTIFICATES = 87
    TLS_CERTIFICATE_CHAIN = 88
    TLS_PRIVATE_KEY = 89
    TLS_ALPN = 90
    TLS_SESSION_TTL = 91
    TLS_DISABLE_CIPHER = 92
    TLS_PEER_IDENTITY = 93
    TLS_REQUEST_PEER_AUTH = 94
    TLS_PEER_CERTIFICATE_CHAIN = 95
    TLS_ID = 96
    TLS_TRUSTED_CIPHERS = 97
    TLS_CHOSEN_CIPHER = 98
    TLS_ERROR = 100
    TLS_REVOCATION_CHECKS = 102
    TLS_OCSP_STAPLED_CHECKS = 103
    TLS_OCSP_CHECKS = 104
    TLS_CRL_CHECKS = 105
    TLS_CACHED_REV_CHECKS = 106
    TLS_CONTEXT = 107
    TLS_SESSION_REUSE = 108
    TLS_RESUMED_SESSION = 109
    TLS_ENABLE_CIPHER = 110
    TLS_VERSION_MIN = 111
    TLS_VERSION_MAX = 112
    TLS_VERSION_CONN = 113
    TLS_SERVER_OCSP_STAPLING = 122
    TLS_CHOSEN_GROUP = 123


class Kind(enum.Enum):
    """How the bytes of a value are read."""

    HOSTNAME = "NUL-terminated name, length counts the NUL, at most 255"
    STRING = "NUL-terminated string"
    NAMES = "comma-separated names, NUL-terminated"
    PEM = "path of a PEM file or directory (NUL-terminated), or PEM bytes"
    CHAIN = "path of a PEM chain, leaf first, or `name:` and a name of the policy (NUL-terminated), or PEM bytes"
    KEY = "path of a PEM or DER key, or `name:` and a name of the policy (NUL-terminated), or PEM bytes"
    CIPHER = "one OpenSSL cipher or suite name, NUL-terminated"
    SECONDS = "long, seconds, not negative"
    FLAG = "int, 0 or 1"
    VERSION = "int, wire version: 0x0303 or 0x0304"
    ULONG = "unsigned long"


class Phase(enum.Flag):
    """When in a socket's life an option may be touched."""

    BEFORE = enum.auto()  # until connect
    AFTER = enum.auto()  # once connected
    ANY = BEFORE | AFTER


@dataclass(frozen=True)
class Option:
    """One row of the table; ``set`` and ``get`` say in which phases the call is allowed, None for never."""

    number: Opt
    kind: Kind
    set: Phase | None
    get: Phase | None
    meaning: str
    origin: str = "gen-1, gen-2"


_ROWS = (
    Option(Opt.TLS_REMOTE_HOSTNAME, Kind.HOSTNAME, Phase.BEFORE, Phase.ANY,
           "name that the peer's certificate must carry, and SNI"),
    Option(Opt.TLS_HOSTNAME, Kind.HOSTNAME, Phase.BEFORE, Phase.ANY,
           "server: name to answer to, can be set more than once; accepted socket: the SNI name received", "gen-1"),
    Option(Opt.TLS_TRUSTED_PEER_CERTIFICATES, Kind.PEM, Phase.BEFORE, None,
           "trust anchors of this connection, instead of the policy's trust store"),
    Option(Opt.TLS_CERTIFICATE_CHAIN, Kind.CHAIN, Phase.BEFORE, None,
           "own certificate and its intermediates; once for each certificate of a server"),
    Option(Opt.TLS_PRIVATE_KEY, Kind.KEY, Phase.BEFORE, None,
           "own key; goes with the chain whose public key is its own"),
    Option(Opt.TLS_ALPN, Kind.NAMES, Phase.BEFORE, Phase.ANY,
           "protocols offered, or accepted in this order; after the handshake the one selected or empty", "gen-1"),
    Option(Opt.TLS_SESSION_TTL, Kind.SECONDS, Phase.BEFORE, Phase.ANY,
           "how long a session may be resumed; 0 disables caching", "gen-1"),
    Option(Opt.TLS_DISABLE_CIPHER, Kind.CIPHER, Phase.BEFORE, None, "do not use this one"),
    Option(Opt.TLS_PEER_IDENTITY, Kind.STRING, None, Phase.AFTER, "subject of the peer's certificate (RFC 4514)"),
    Option(Opt.TLS_REQUEST_PEER_AUTH, Kind.FLAG, Phase.BEFORE, None,
           "server: the client must present a certificate", "gen-1"),
    Option(Opt.TLS_PEER_CERTIFICATE_CHAIN, Kind.STRING, None, Phase.AFTER, "the peer's chain, PEM, leaf first"),
    Option(Opt.TLS_ID, Kind.ULONG, None, Phase.ANY, "opaque handle of this socket, unique within the daemon"),
    Option(Opt.TLS_TRUSTED_CIPHERS, Kind.STRING, None, Phase.ANY, "colon-separated list in force", "gen-2"),
    Option(Opt.TLS_CHOSEN_CIPHER, Kind.STRING, None, Phase.AFTER, "negotiated suite, OpenSSL's name", "gen-2"),
    Option(Opt.TLS_ERROR, Kind.STRING, None, Phase.ANY, "text of the last failure, empty when none", "gen-2"),
    Option(Opt.TLS_REVOCATION_CHECKS, Kind.FLAG, Phase.BEFORE, Phase.ANY, "revocation: master switch", "gen-2"),
    Option(Opt.TLS_OCSP_STAPLED_CHECKS, Kind.FLAG, Phase.BEFORE, Phase.ANY, "revocation: stapled OCSP", "gen-2"),
    Option(Opt.TLS_OCSP_CHECKS, Kind.FLAG, Phase.BEFORE, Phase.ANY, "revocation: OCSP responders", "gen-2"),
    Option(Opt.TLS_CRL_CHECKS, Kind.FLAG, Phase.BEFORE, Phase.ANY, "revocation: CRLs", "gen-2"),
    Option(Opt.TLS_CACHED_REV_CHECKS, Kind.FLAG, Phase.BEFORE, Phase.ANY, "revocation: cached answers", "gen-2"),
    Option(Opt.TLS_CONTEXT, Kind.ULONG, Phase.BEFORE, Phase.ANY,
           "handle of this socket's settings and session cache; set: share those of another socket of yours", "gen-2"),
    Option(Opt.TLS_SESSION_REUSE, Kind.FLAG, Phase.BEFORE, Phase.ANY, "resume sessions", "gen-2"),
    Option(Opt.TLS_RESUMED_SESSION, Kind.FLAG, None, Phase.AFTER, "1 when the handshake was abbreviated", "gen-2"),
    Option(Opt.TLS_ENABLE_CIPHER, Kind.CIPHER, Phase.BEFORE, None,
           "use this one again; never wider than the policy", "gen-2"),
    Option(Opt.TLS_VERSION_MIN, Kind.VERSION, Phase.BEFORE, Phase.ANY,
           "lowest version; never below the policy's", "gen-2"),
    Option(Opt.TLS_VERSION_MAX, Kind.VERSION, Phase.BEFORE, Phase.ANY,
           "highest version; never above the policy's", "gen-2"),
    Option(Opt.TLS_VERSION_CONN, Kind.VERSION, None, Phase.AFTER, "negotiated version", "gen-2"),
    Option(Opt.TLS_SERVER_OCSP_STAPLING, Kind.FLAG, Phase.BEFORE, Phase.ANY, "server: staple OCSP answers", "gen-2"),
    Option(Opt.TLS_CHOSEN_GROUP, Kind.STRING, None, Phase.AFTER, "negotiated key-exchange group", "new"),
)  # fmt: skip

OPTIONS: dict[Opt, Option] = {row.number: row for row in _ROWS}
"""The table, by number."""
