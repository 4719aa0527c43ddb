"""The OpenSSL functions that pyOpenSSL's binding has and its public interface does not wrap."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL, crypto

from ..names import is_ip_address

_lib: Any = SSL._lib  # type: ignore[attr-defined]
_ffi: Any = SSL._ffi  # type: ignore[attr-defined]
_raise_current_error: Any = SSL._raise_current_error


_NAME_RULES: int = _lib.X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | _lib.X509_CHECK_FLAG_NEVER_CHECK_SUBJECT


def expect_name(connection: SSL.Connection, name: str) -> bool:
    """Let the handshake fail unless the peer's certificate is for this name or address (X509_check_host(3)).

    As RFC 9525 has it: subjects are not looked at, and a wildcard is a whole label.  False when this OpenSSL takes no
    such name.
    """
    return _demand(_lib.SSL_get0_param(connection._ssl), name)


def name_objection(certificate: crypto.X509, name: str) -> int:
    """Return the X509_V_ERR_* with which a handshake refuses a certificate that is good but for its names, 0 for none.

    OpenSSL's own rules, by a store in which the certificate itself is the anchor (X509_V_FLAG_PARTIAL_CHAIN).
    """
    parameters = _ffi.gc(_lib.X509_VERIFY_PARAM_new(), _lib.X509_VERIFY_PARAM_free)
    if not _demand(parameters, name):
        return int(SSL.X509VerificationCodes.ERR_HOSTNAME_MISMATCH)
    store = crypto.X509Store()
    store.add_cert(certificate)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    _lib.X509_STORE_set1_param(store._store, parameters)
    try:
        crypto.X509StoreContext(store, certificate).verify_certificate()
    except crypto.X509StoreContextError as error:
        return int(error.errors[0])
    return 0


def let_store_verify(context: SSL.Context, *, clients: bool) -> None:
    """Let a context's store verify chains without a handshake as with one: to its depth, for servers or clients."""
    store = _lib.SSL_CTX_get_cert_store(context._context)
    _lib.X509_STORE_set1_param(store, _lib.SSL_CTX_get0_param(context._context))
    _lib.X509_STORE_set_purpose(store, _lib.X509_PURPOSE_SSL_CLIENT if clients else _lib.X509_PURPOSE_SSL_SERVER)


def why_unusable(context: SSL.Context, certificate: crypto.X509) -> str:
    """Say why OpenSSL would not present a certificate in this context (SSL_CTX_use_certificate(3)), "" if it would."""
    if _lib.SSL_CTX_use_certificate(context._context, certificate._x509) == 1:
        return ""
    try:
        _raise_current_error()
    except SSL.Error as error:
        return "; ".join(entry[2] for entry in error.args[0])
    return ""


def _demand(parameters: Any, name: str) -> bool:
    _lib.X509_VERIFY_PARAM_set_hostflags(parameters, _NAME_RULES)
    if is_ip_address(name):
        packed = ipaddress.ip_address(name).packed
        return bool(_lib.X509_VERIFY_PARAM_set1_ip(parameters, packed, len(packed)) == 1)
    encoded = name.removesuffix(".").encode("ascii")
    return bool(_lib.X509_VERIFY_PARAM_set1_host(parameters, encoded, len(encoded)) == 1)


_OUTPUT_BYTES = 262_144
_output_room: Any = _ffi.new("char[]", _OUTPUT_BYTES)
"""what leaves an engine passes through here, and is copied before anything else runs"""


def take_output(connection: SSL.Connection) -> bytes:
    """Return ciphertext to send, at most 256 KiB, empty when there is none (BIO_read(3)).

    pyOpenSSL's bio_read() makes room anew each time, and says by an exception that there is nothing.
    """
    size = _lib.BIO_read(connection._from_ssl, _output_room, _OUTPUT_BYTES)
    return bytes(_ffi.buffer(_output_room, size)) if size > 0 else b""


def read_into(connection: SSL.Connection, room: memoryview) -> int:
    """Decrypt into ``room`` itself (SSL_read(3)); 0: there is nothing to read now.  Raises SSL.Error otherwise.

    pyOpenSSL's recv_into() decrypts into room of its own, and copies.
    """
    with _ffi.from_buffer(room, require_writable=True) as place:
        size: int = _lib.SSL_read(connection._ssl, place, len(room))
    if size > 0:
        return size
    if _lib.SSL_get_error(connection._ssl, size) != _lib.SSL_ERROR_WANT_READ:
        connection._raise_ssl_error(connection._ssl, size)
    return 0


def on_failed_verification(context: SSL.Context, mode: int, note: Callable[..., bool]) -> None:
    """As ``context.set_verify(mode, note)``, but ``note`` is called for what OpenSSL objects to only.

    Most certificates are good, and each call costs as much as a small system call.
    """
    context.set_verify(mode, note)
    tell: Any = context._verify_callback

    def answer(ok: int, store: Any) -> int:
        said: int = 1 if ok else tell(ok, store)
        return said

    callback = _ffi.callback("int (*)(int, X509_STORE_CTX *)", answer, error=0)
    context._verify_callback = callback  # for as long as the context or one of its connections lives
    _lib.SSL_CTX_set_verify(context._context, mode, callback)


def session_reused(connection: SSL.Connection) -> bool:
    """Whether the handshake was abbreviated (SSL_session_reused(3))."""
    return bool(_lib.SSL_session_reused(connection._ssl) == 1)


def verification_text(code: int) -> str:
    """OpenSSL's words for an X509_V_ERR_* number (X509_verify_cert_error_string(3))."""
    text: bytes = _ffi.string(_lib.X509_verify_cert_error_string(code))
    return text.decode("ascii", "replace")


def set_server_name_callback(context: SSL.Context, admit: Callable[[SSL.Connection], bool]) -> None:
    """Call ``admit`` with each connection whose initiator may have named a server (SNI, RFC 6066 section 3).

    When it says no, the initiator gets the alert unrecognized_name.  pyOpenSSL's own wrapper cannot refuse.
    """

    def answer(ssl: Any, _alert: Any, _argument: Any) -> int:
        admitted = admit(SSL.Connection._reverse_mapping[ssl])
        verdict: int = _lib.SSL_TLSEXT_ERR_OK if admitted else _lib.SSL_TLSEXT_ERR_ALERT_FATAL
        return verdict

    callback = _ffi.callback("int (*)(SSL *, int *, void *)", answer, error=_lib.SSL_TLSEXT_ERR_ALERT_FATAL)
    context._tlsext_servername_callback = callback  # for as long as the context lives
    _lib.SSL_CTX_set_tlsext_servername_callback(context._context, callback)


def stapled_response(connection: SSL.Connection) -> bytes | None:
    """Return the OCSP response that came with the handshake, DER (SSL_get_tlsext_status_ocsp_resp(3)); None: none."""
    place = _ffi.new("unsigned char **")
    size = _lib.SSL_get_tlsext_status_ocsp_resp(connection._ssl, place)
    return bytes(_ffi.buffer(place[0], size)) if size > 0 else None


def session_to_bytes(session: SSL.Session) -> bytes:
    """Return a session as ASN.1 (i2d_SSL_SESSION(3)): with the peer's certificate, without the rest of its chain."""
    size = _lib.i2d_SSL_SESSION(session._session, _ffi.NULL)
    room = _ffi.new("unsigned char[]", size)
    _lib.i2d_SSL_SESSION(session._session, _ffi.new("unsigned char **", room))
    return bytes(_ffi.buffer(room, size))


def set_session_bytes(connection: SSL.Connection, data: bytes) -> None:
    """Let a connection resume what :func:`session_to_bytes` wrote, by a context of the same settings as this one's."""
    room = _ffi.new("unsigned char[]", data)
    made = SSL.Session.__new__(SSL.Session)
    found = _lib.d2i_SSL_SESSION(_ffi.NULL, _ffi.new("const unsigned char **", room), len(data))
    made._session = _ffi.gc(found, _lib.SSL_SESSION_free)
    made._context = connection.get_context()
    connection.set_session(made)


def set_groups(context: SSL.Context, names: Sequence[str]) -> bool:
    """Let only these groups be agreed on (SSL_CTX_set1_groups_list(3)); False when OpenSSL does not know one."""
    return _accepted(_lib.SSL_CTX_set1_curves_list(context._context, ":".join(names).encode()))


def set_signature_algorithms(context: SSL.Context, names: Sequence[str]) -> bool:
    """Let only these sign (SSL_CTX_set1_sigalgs_list(3)); False when OpenSSL does not know one."""
    return _accepted(_lib.SSL_CTX_set1_sigalgs_list(context._context, ":".join(names).encode()))


def _accepted(answer: int) -> bool:
    if answer != 1:
        _lib.ERR_clear_error()
    return answer == 1
