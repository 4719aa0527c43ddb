"""TLS contexts, one for each distinct setting: the only place that makes them and that reads trust stores.

A context may not change after its first connection, and loading a trust store costs up to 17 ms, so contexts are kept
(least recently used last) and shared by all connections with equal settings.
"""

from __future__ import annotations

import os
from functools import lru_cache

from OpenSSL import SSL

from ..errors import ApplicationError, DaemonError
from ..tls.reasons import note_verification
from .model import Settings

_CONTEXTS_KEPT = 128


def context_for(settings: Settings) -> SSL.Context:
    """Return the context of these settings.

    Raises ApplicationError(EINVAL) when the anchors hold no certificate, DaemonError when the system has no trust
    store.
    """
    return _context(settings.anchors_pem, settings.version_min, settings.version_max, settings.verify_depth)


@lru_cache(maxsize=_CONTEXTS_KEPT)
def _context(anchors_pem: bytes | None, version_min: int, version_max: int, verify_depth: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version_min)
    context.set_max_proto_version(version_max)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_verify(SSL.VERIFY_PEER, note_verification)
    context.set_verify_depth(verify_depth)
    if anchors_pem is None:
        _load_system_store(context)
    else:
        _load_anchors(context, anchors_pem)
    return context


def _load_anchors(context: SSL.Context, pem: bytes) -> None:
    descriptor = os.memfd_create("anchors", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_verify_locations(f"/proc/self/fd/{descriptor}")
    except SSL.Error:
        raise ApplicationError("TLS_TRUSTED_PEER_CERTIFICATES holds no certificate in PEM form") from None
    finally:
        os.close(descriptor)


def _load_system_store(context: SSL.Context) -> None:
    try:
        context.set_default_verify_paths()
    except SSL.Error as error:
        raise DaemonError(f"the system's trust store cannot be read: {error}") from None
