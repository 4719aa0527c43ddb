"""TLS by the operating system: plain sockets of the standard library, protocol 205 instead of 6.

The numbers are the application's side of the SSA's ABI (``in_tls.h``); they are written here a second time
because this program stands for any program, which has nothing of the implementation to import.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import os
import socket
from collections.abc import Callable

from harness.clients.target import Target

IPPROTO_TLS = 205
TLS_REMOTE_HOSTNAME = 85
TLS_TRUSTED_PEER_CERTIFICATES = 87
TLS_ALPN = 90
TLS_PEER_CERTIFICATE_CHAIN = 95
TLS_CHOSEN_CIPHER = 98
TLS_ERROR = 100
TLS_RESUMED_SESSION = 109
TLS_VERSION_CONN = 113
TLS_CHOSEN_GROUP = 123

_VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_TEXT_BYTES = 1024
_CHAIN_BYTES = 65_536
_libc = ctypes.CDLL(None, use_errno=True)


class SsaClient:
    """One connection.  When it is made: the socket, and whom it trusts.

    In profile cold-start that is the daemon's to know, as the system's trust store is; in paper-2018 nothing is
    verified: the daemon's policy says so (see ``harness.policies``), for an application could not.
    """

    connected_in_2018 = True

    def __init__(self, target: Target) -> None:
        self._target = target
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM, IPPROTO_TLS)
        if target.profile not in {"cold-start", "paper-2018"}:
            self._set_text(TLS_TRUSTED_PEER_CERTIFICATES, target.ca_file)

    def dial(self) -> bool:
        """Nothing: TCP, handshake and verification are one call, so nobody can say when its TCP part is done."""
        return False

    def handshake(self) -> bool:
        """Connect, shake hands, verify."""
        self._set_text(TLS_REMOTE_HOSTNAME, self._target.server_name)
        self._socket.connect((self._target.address, self._target.port))
        return True

    def send_all(self, data: bytes) -> None:
        """Send everything."""
        self._socket.sendall(data)

    @property
    def receive_into(self) -> Callable[[memoryview], int]:
        """Read at most as much as the buffer holds; 0 at the end."""
        return self._socket.recv_into

    def explain(self, error: Exception) -> tuple[str, int | None]:
        """One sentence, the SSA's own if it has one, and the errno."""
        if not isinstance(error, OSError):
            return f"{error}", None
        try:
            text = self._text(TLS_ERROR)
        except OSError:
            text = ""
        return text or f"{error.strerror or error}.", error.errno

    def terms(self) -> dict[str, str | bool | int | None]:
        """What was negotiated, in the names of :class:`harness.records.Sample`.

        The OpenSSL build is the daemon's, which the runner knows.
        """
        version = self._socket.getsockopt(IPPROTO_TLS, TLS_VERSION_CONN)
        chain = self._text(TLS_PEER_CERTIFICATE_CHAIN, _CHAIN_BYTES)
        return {
            "tls_version": _VERSIONS.get(version, hex(version)),
            "tls_cipher": self._text(TLS_CHOSEN_CIPHER),
            "tls_group": self._text(TLS_CHOSEN_GROUP),
            "tls_alpn": self._text(TLS_ALPN),
            "tls_resumed": bool(self._socket.getsockopt(IPPROTO_TLS, TLS_RESUMED_SESSION)),
            "peer_certificate_sha256": hashlib.sha256(leaf_der(chain)).hexdigest(),
            "openssl": None,
        }

    def _set_text(self, option: int, text: str) -> None:
        self._socket.setsockopt(IPPROTO_TLS, option, text.encode() + b"\0")

    def _text(self, option: int, limit: int = _TEXT_BYTES) -> str:
        return long_option(self._socket.fileno(), option, limit).partition(b"\0")[0].decode()


def long_option(descriptor: int, option: int, limit: int) -> bytes:
    """getsockopt(2) at the SSA's level; socket.getsockopt refuses values longer than 1024 bytes.  OSError."""
    value = ctypes.create_string_buffer(limit)
    length = ctypes.c_uint32(limit)
    if _libc.getsockopt(descriptor, IPPROTO_TLS, option, value, ctypes.byref(length)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return value.raw[: length.value]


def leaf_der(chain: str) -> bytes:
    """The first certificate of a PEM chain.  ValueError when there is none."""
    _, begun, rest = chain.partition("-----BEGIN CERTIFICATE-----")
    encoded, ended, _ = rest.partition("-----END CERTIFICATE-----")
    if not begun or not ended:
        raise ValueError("The chain that the SSA gave has no certificate.")
    return base64.b64decode("".join(encoded.split()), validate=True)
