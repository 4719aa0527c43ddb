"""Where the daemon listens, and the directory that it has to itself."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

_LONGEST_PATH_BYTES = 107 - len(".d/worker-4194304.inner")  # sun_path of unix(7), for the workers' own names too


class CannotStart(Exception):
    """The daemon cannot run here; the text says why and what to do."""


@contextlib.contextmanager
def listening(
    path: Path, mode: int = 0o600, kind: socket.SocketKind = socket.SOCK_SEQPACKET
) -> Iterator[socket.socket]:
    """Listen at ``path``, for whom ``mode`` lets in.  Raises CannotStart."""
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise CannotStart(
            f"the socket's path has more than {_LONGEST_PATH_BYTES} bytes: {path}; choose a shorter one with --socket"
        )
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as listener:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            _remove_stale(path, kind)
            previous = os.umask(0o777 & ~mode)
            try:
                listener.bind(str(path))
            finally:
                os.umask(previous)
            listener.listen(1024)
        except OSError as error:
            raise CannotStart(
                f"cannot listen at {path}: {error.strerror}; choose another place with --socket"
            ) from None
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def private_directory(path: Path) -> Iterator[None]:
    """Keep a directory that nobody but this user may enter: who could would get at the applications' plain text.

    Raises CannotStart when somebody else was here first.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise CannotStart(f"cannot make {path}: {error.strerror}; choose another place with --socket") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise CannotStart(f"others may enter {path}; remove it, or choose another place with --socket")
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # somebody has tidied up before us
            for leftover in path.iterdir():
                leftover.unlink(missing_ok=True)
            path.rmdir()


def _remove_stale(path: Path, kind: socket.SocketKind) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise CannotStart(f"another ssad listens at {path}; stop it, or choose another place with --socket")
    path.unlink()
