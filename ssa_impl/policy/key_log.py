"""Secrets of connections, appended to a file for debugging (SSLKEYLOGFILE's format), where the policy says so."""

from __future__ import annotations

import errno
import logging
import os
import stat
import weakref

from OpenSSL import SSL

from ..errors import DaemonError

_log = logging.getLogger("ssad")
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def log_secrets(context: SSL.Context, path: str) -> None:
    """Let a context append its connections' secrets to a file that nobody else can read.

    Raises DaemonError (ENOBUFS) when the file cannot be had so: no connection is made then.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise DaemonError(f"the policy's key log {path} cannot be opened: {error.strerror}") from None
    weakref.finalize(context, os.close, descriptor)
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise DaemonError(f"the policy's key log {path} must be a file of the daemon's user with mode 0600")

    failing = False

    def write(_connection: SSL.Connection, line: bytes) -> None:
        nonlocal failing
        text = b"\n" * failing + line + b"\n"  # what a full disk cut off ends here
        try:
            written = os.write(descriptor, text)
            why = "" if written == len(text) else os.strerror(errno.ENOSPC)
        except OSError as error:  # the connection is as good without it
            why = str(error.strerror)
        if why and not failing:
            _log.error("secrets are missing from the policy's key log %s: %s", path, why)
        failing = bool(why)

    context.set_keylog_callback(write)
