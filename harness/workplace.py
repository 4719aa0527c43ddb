"""A campaign's work directory: certificates and their keys, the body, sockets, logs.  It goes with the campaign.

What a killed campaign has left of it, the next one takes away.  Whose owner lives is told by a lock (flock(2)) on a
file in it, which gets its name when it is held, so that a directory that is being made is not taken for one that was
left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "ssa-campaign-"
_LOCK = "lock"


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A new directory where the system has its temporary files, for as long as the block runs.  OSError."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name, _held(Path(name)):
        yield Path(name)


@contextlib.contextmanager
def _held(directory: Path) -> Iterator[None]:
    new = directory / f".{_LOCK}"
    lock = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(directory / _LOCK)
        yield
    finally:
        os.close(lock)


def _sweep() -> None:
    """Remove our user's that nobody holds."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, gone meanwhile, or alive
            _remove_unless_held(directory)


def _remove_unless_held(directory: Path) -> None:
    lock = os.open(directory / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock).st_uid == directory.lstat().st_uid == os.geteuid():
            shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)
