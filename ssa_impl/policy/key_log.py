"""Secrets of connections, appended to a file for debugging (SSLKEYLOGFILE's format), where the policy says so."""

from __future__ import annotations

import errno
import logging
import os
import stat
import weakref
from pathlib import PurePath

from OpenSSL import SSL

from ..errors import DaemonError

_log = logging.getLogger("ssad")
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_SAYS_NOTHING = {errno.EACCES, errno.EPERM, errno.EOPNOTSUPP}
"""of a trial: another user may open it, or the file system tells only by making the file"""


def log_secrets(context: SSL.Context, path: str) -> None:
    """Let a context append its connections' secrets to a file that nobody else can read.

    Raises DaemonError (ENOBUFS) when the file cannot be had so: no connection is made then.
    """
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise _not_opened(path, error) from None
    weakref.finalize(context, os.close, descriptor)
    _check(path, os.fstat(descriptor), os.geteuid())

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


def try_log(path: str) -> str:
    """Return why it cannot be known here whether a daemon could log to this file, "" when one of this user could.

    The file is not made.  Raises DaemonError when no daemon could.
    """
    try:
        state = _look(path)
    except OSError as error:
        if error.errno in _SAYS_NOTHING:
            return _not_opened(path, error).text
        raise _not_opened(path, error) from None
    if state is None:
        return ""
    _check(path, state, state.st_uid)
    stranger = state.st_uid != os.geteuid()
    return f"the policy's key log {path} is user {state.st_uid}'s: only a daemon of that user can open it" * stranger


def _look(path: str) -> os.stat_result | None:
    """Return what is there; where nothing is, see whether a file could be made.  Raises OSError."""
    try:
        descriptor = os.open(path, _FLAGS & ~os.O_CREAT)
    except FileNotFoundError:
        os.close(os.open(PurePath(path).parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600))
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _check(path: str, state: os.stat_result, uid: int) -> None:
    if not stat.S_ISREG(state.st_mode) or state.st_uid != uid or state.st_mode & 0o077:
        raise DaemonError(f"the policy's key log {path} must be a file of the daemon's user with mode 0600")


def _not_opened(path: str, error: OSError) -> DaemonError:
    return DaemonError(f"the policy's key log {path} cannot be opened: {error.strerror}")
