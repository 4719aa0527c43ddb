"""TLS contexts, one for each distinct setting: the only place that makes them and that reads trust stores.

A context may not change after its first connection, and loading a trust store costs up to 17 ms, so contexts are kept
(least recently used last) and shared by all connections with equal settings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from ..errors import ApplicationError, DaemonError, PolicyError
from ..tls.acceptor import choose, is_ours, select_protocol, staple
from ..tls.binding import (
    let_store_verify,
    on_failed_verification,
    set_groups,
    set_server_name_callback,
    set_signature_algorithms,
)
from ..tls.reasons import note_failure
from .ciphers import default_ciphers, is_tls_1_3
from .files import VENDOR
from .key_log import log_secrets
from .model import SECURITY_LEVEL, Identity, Role, Settings

_CONTEXTS_KEPT = 256


def context_for(settings: Settings) -> SSL.Context:
    """Return the context of these settings.

    Raises ApplicationError(EINVAL) when the anchors hold no certificate, PolicyError(EPROTO) when OpenSSL refuses a key
    or a certificate (too weak), DaemonError when the system has no trust store.
    """
    if settings.role is Role.ACCEPTOR:
        return _acceptor_context(settings)
    return _context(replace(settings, hostname=None, alpn=(), profile=""))  # these belong to the connection


def verifier_for(settings: Settings) -> SSL.Context:
    """Return a context that verifies chains as connections of these settings do; its store is all that matters.

    The very context that most initiators have.  Raises what :func:`context_for` raises.
    """
    return _context(replace(settings, hostname=None, alpn=(), profile="", identities=(), server_names=(), key_log=""))


def forget_contexts() -> None:
    """Make every context anew when it is needed next: what it was made of may have changed."""
    _acceptor_context.cache_clear()
    _context.cache_clear()


_FFDHE2048 = (VENDOR / "ffdhe2048.pem").read_bytes()
"""what an acceptor's DHE ciphers use (RFC 7919); read before a worker gives up its files"""


@lru_cache(maxsize=_CONTEXTS_KEPT)
def _acceptor_context(settings: Settings) -> SSL.Context:
    """The context that a handshake begins with; the initiator's server name may lead to another."""
    for identity in settings.identities:
        _context(replace(settings, identities=(identity,)))  # a certificate that cannot be used is refused now
    context = _context.__wrapped__(replace(settings, identities=choose(settings.identities, "")))

    def admit(connection: SSL.Connection) -> bool:
        name = (connection.get_servername() or b"").decode("ascii", "replace")
        if not is_ours(settings.server_names, name):
            return False
        connection.set_context(_context(replace(settings, identities=choose(settings.identities, name))))
        return True

    set_server_name_callback(context, admit)
    return context


@lru_cache(maxsize=_CONTEXTS_KEPT)
def _context(settings: Settings) -> SSL.Context:
    accepting = settings.role is Role.ACCEPTOR
    context = SSL.Context(SSL.TLS_SERVER_METHOD if accepting else SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(settings.version_min)
    context.set_max_proto_version(settings.version_max)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    if settings.ciphers != default_ciphers() or settings.security_level != SECURITY_LEVEL:
        _set_ciphers(context, settings.ciphers, settings.security_level)
    if settings.groups and not set_groups(context, settings.groups):
        raise PolicyError(f"OpenSSL does not take these groups: {':'.join(settings.groups)}")
    if settings.signature_algorithms and not set_signature_algorithms(context, settings.signature_algorithms):
        names = ":".join(settings.signature_algorithms)
        raise PolicyError(f"OpenSSL does not take these signature algorithms: {names}")
    if settings.authenticate_peer:
        on_failed_verification(context, SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_failure)
        context.set_verify_depth(settings.verify_depth)
        if settings.trust_system:
            _load_system_store(context)
        if settings.anchors_pem is not None:
            _load_anchors(context, settings.anchors_pem)
        let_store_verify(context, clients=accepting)
    for identity in settings.identities:
        _present(context, identity)
    if accepting and any(name.startswith("DHE-") for name in settings.ciphers):
        with _as_file(_FFDHE2048) as path:
            context.load_tmp_dh(os.fsencode(path))
    if accepting and settings.alpn:
        context.set_alpn_select_callback(select_protocol(settings.alpn))
    if settings.staple is not None:
        context.set_ocsp_server_callback(staple)
    _set_sessions(context, settings, accepting)
    if settings.key_log:
        log_secrets(context, settings.key_log)
    return context


def _set_ciphers(context: SSL.Context, ciphers: tuple[str, ...], level: int) -> None:
    context.set_tls13_ciphersuites(":".join(filter(is_tls_1_3, ciphers)).encode("ascii"))
    older = [name for name in ciphers if not is_tls_1_3(name)] or ["DEFAULT"]  # TLS 1.3 is the lowest version then
    context.set_cipher_list(":".join([*older, f"@SECLEVEL={level}"]).encode("ascii"))


def _set_sessions(context: SSL.Context, settings: Settings, accepting: bool) -> None:
    """Initiators' sessions are kept by the daemon; an acceptor's are OpenSSL's business, in this worker."""
    if accepting and settings.session_ttl_s:
        context.set_session_id(b"ssa")
        context.set_timeout(settings.session_ttl_s)
        context.set_session_cache_mode(SSL.SESS_CACHE_SERVER)
        return
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if accepting:
        context.set_options(SSL.OP_NO_TICKET)


def _present(context: SSL.Context, identity: Identity) -> None:
    key = serialization.load_der_private_key(identity.key_der, password=None)
    try:
        with _as_file(identity.chain_pem) as path:
            context.use_certificate_chain_file(path)
        context.use_privatekey(key)  # type: ignore[arg-type]  # whatever kind it is: OpenSSL says no
    except (SSL.Error, TypeError) as error:
        raise PolicyError(f"OpenSSL refuses this certificate or key: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    stack = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(entry[2] for entry in stack if len(entry) == 3 and entry[2]) or str(error)


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give bytes a path: pyOpenSSL reads chains and anchors from files only."""
    descriptor = os.memfd_create("ssa", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _load_anchors(context: SSL.Context, pem: bytes) -> None:
    try:
        with _as_file(pem) as path:
            context.load_verify_locations(path)
    except SSL.Error:
        raise ApplicationError("TLS_TRUSTED_PEER_CERTIFICATES holds no certificate in PEM form") from None


def _load_system_store(context: SSL.Context) -> None:
    try:
        context.set_default_verify_paths()
    except SSL.Error as error:
        raise DaemonError(f"the system's trust store cannot be read: {error}") from None
