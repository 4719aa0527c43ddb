"""TLS inside the process: pyOpenSSL, directly on the blocking TCP socket.

Verification is what the daemon does: OpenSSL checks the chain up to the given CA file, and the name, inside the
handshake.  There is no session cache, so every handshake is a full one.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from harness.clients.target import Target


class OpensslClient:
    """One connection.  When it is made: context, trust store (the published design verifies nothing), TCP socket.

    Whatever else is no TLS, such as telling a name from an address, is done then, too.
    """

    connected_in_2018 = False

    def __init__(self, target: Target) -> None:
        self._target = target
        self._verifies = target.profile != "paper-2018"
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_verify(SSL.VERIFY_PEER if self._verifies else SSL.VERIFY_NONE)
        self._context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if self._verifies:
            self._context.load_verify_locations(target.ca_file)
        self._name, self._packed = target.server_name.encode("ascii"), _packed(target.server_name)
        family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the daemon's sockets have it
        self._connection: SSL.Connection | None = None

    def dial(self) -> bool:
        """Connect TCP."""
        self._socket.connect((self._target.address, self._target.port))
        return True

    def handshake(self) -> bool:
        """Shake hands, verify."""
        self._connection = connection = SSL.Connection(self._context, self._socket)
        connection.set_connect_state()
        if self._verifies:
            _expect(connection, self._name, self._packed)
        if self._packed is None:
            connection.set_tlsext_host_name(self._name)
        connection.do_handshake()
        return True

    def send_all(self, data: bytes) -> None:
        """Send everything."""
        self._open().sendall(data)

    @property
    def receive_into(self) -> Callable[[memoryview], int]:
        """Read at most as much as the buffer holds.

        Raises ZeroReturnError at the end (see :meth:`explain`).
        """
        return self._open().recv_into

    def explain(self, error: Exception) -> tuple[str, int | None]:
        """One sentence and the errno, if it has one."""
        if isinstance(error, SSL.ZeroReturnError):
            return "The server ended the connection in the middle of its answer.", None
        if isinstance(error, SSL.SysCallError):
            code = error.args[0] if error.args and error.args[0] > 0 else None
            return f"The connection broke: {error.args[-1] if error.args else 'unknown'}.", code
        if isinstance(error, SSL.Error):
            if self._connection is not None and _verify_result(self._connection) in _OF_ANOTHER_NAME:
                return f"The certificate is not for {self._target.server_name}.", None
            return f"TLS failed: {self._reasons(error)}.", None
        if isinstance(error, OSError):
            return f"{error.strerror or error}.", error.errno
        return f"{error}", None

    def terms(self) -> dict[str, str | bool | int | None]:
        """What was negotiated, in the names of :class:`harness.records.Sample`."""
        connection = self._open()
        leaf = connection.get_peer_certificate(as_cryptography=True)
        return {
            "tls_version": connection.get_protocol_version_name(),
            "tls_cipher": connection.get_cipher_name(),
            "tls_group": connection.get_group_name(),
            "tls_alpn": connection.get_alpn_proto_negotiated().decode("latin-1"),
            "tls_resumed": _resumed(connection),
            "peer_certificate_sha256": hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest() if leaf else None,
            "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
        }

    def _reasons(self, error: SSL.Error) -> str:
        """OpenSSL's own words, e.g. ``certificate verify failed: certificate has expired``."""
        detail = _verification(self._connection) if self._connection is not None else ""
        return f"{_reasons(error)}: {detail}" if detail else _reasons(error)

    def _open(self) -> SSL.Connection:
        if self._connection is None:
            raise RuntimeError("connect was not called")
        return self._connection


# pyOpenSSL's binding has these functions, its public interface does not wrap them.
_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]
_OF_ANOTHER_NAME = {62, 64}  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def _resumed(connection: SSL.Connection) -> bool:
    return bool(_lib.SSL_session_reused(connection._ssl) == 1)


def _expect(connection: SSL.Connection, name: bytes, packed: bytes | None) -> None:
    """Let the handshake fail unless the certificate is for this name, or address (X509_check_host(3), RFC 9525)."""
    parameters = _lib.SSL_get0_param(connection._ssl)
    rules = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, rules)
    if packed is not None:
        taken = _lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed))
    else:
        taken = _lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name))
    if taken != 1:
        raise ValueError(f"no certificate can be for {name.decode()}")


def _packed(name: str) -> bytes | None:
    """Of an IP literal; None when it is none."""
    try:
        return ipaddress.ip_address(name).packed
    except ValueError:
        return None


def _reasons(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(entry[-1]) for entry in entries) or "without a reason"


def _verify_result(connection: SSL.Connection) -> int:
    code: int = _lib.SSL_get_verify_result(connection._ssl)
    return code


def _verification(connection: SSL.Connection) -> str:
    code = _verify_result(connection)
    return str(_ffi.string(_lib.X509_verify_cert_error_string(code)).decode()) if code != 0 else ""  # X509_V_OK
