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


class Opt(enum.IntEnum):
    """The options' numbers, under the names that C and Python programs use."""

    TLS_REMOTE_HOSTNAME = 85
    TLS_TRUSTED_PEER_CERTIFICATES = 87
    TLS_ALPN = 90
    TLS_PEER_IDENTITY = 93
    TLS_PEER_CERTIFICATE_CHAIN = 95
    TLS_ID = 96
    TLS_CHOSEN_CIPHER = 98
    TLS_ERROR = 100
    TLS_RESUMED_SESSION = 109
    TLS_VERSION_MIN = 111
    TLS_VERSION_MAX = 112
    TLS_VERSION_CONN = 113
    TLS_CHOSEN_GROUP = 123


class Kind(enum.Enum):
    """How the bytes of a value are read."""

    HOSTNAME = "NUL-terminated name, length counts the NUL, at most 255"
    STRING = "NUL-terminated string"
    NAMES = "comma-separated names, NUL-terminated"
    PEM = "path of a PEM file or directory (NUL-terminated), or PEM bytes"
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
    Option(Opt.TLS_TRUSTED_PEER_CERTIFICATES, Kind.PEM, Phase.BEFORE, None,
           "trust anchors of this connection, instead of the policy's trust store"),
    Option(Opt.TLS_ALPN, Kind.NAMES, Phase.BEFORE, Phase.ANY,
           "protocols offered; after the handshake the one selected, empty when none", "gen-1"),
    Option(Opt.TLS_PEER_IDENTITY, Kind.STRING, None, Phase.AFTER, "subject of the peer's certificate (RFC 4514)"),
    Option(Opt.TLS_PEER_CERTIFICATE_CHAIN, Kind.STRING, None, Phase.AFTER, "the peer's chain, PEM, leaf first"),
    Option(Opt.TLS_ID, Kind.ULONG, None, Phase.ANY, "opaque handle of this socket, unique within the daemon"),
    Option(Opt.TLS_CHOSEN_CIPHER, Kind.STRING, None, Phase.AFTER, "negotiated suite, OpenSSL's name", "gen-2"),
    Option(Opt.TLS_ERROR, Kind.STRING, None, Phase.ANY, "text of the last failure, empty when none", "gen-2"),
    Option(Opt.TLS_RESUMED_SESSION, Kind.FLAG, None, Phase.AFTER, "1 when the handshake was abbreviated", "gen-2"),
    Option(Opt.TLS_VERSION_MIN, Kind.VERSION, Phase.BEFORE, Phase.ANY,
           "lowest version; never below the policy's", "gen-2"),
    Option(Opt.TLS_VERSION_MAX, Kind.VERSION, Phase.BEFORE, Phase.ANY,
           "highest version; never above the policy's", "gen-2"),
    Option(Opt.TLS_VERSION_CONN, Kind.VERSION, None, Phase.AFTER, "negotiated version", "gen-2"),
    Option(Opt.TLS_CHOSEN_GROUP, Kind.STRING, None, Phase.AFTER, "negotiated key-exchange group", "new"),
)  # fmt: skip

OPTIONS: dict[Opt, Option] = {row.number: row for row in _ROWS}
"""The table, by number."""
