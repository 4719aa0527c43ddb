"""Where the daemon listens, and the directory that it has to itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

_LONGEST_PATH_BYTES = 107 - len(".d/worker-4194304.inner")  # sun_path of unix(7), for the workers' own names too
_KIND = socket.SOCK_SEQPACKET


class CannotStart(Exception):
    """The daemon cannot run here; the text says why and what to do."""


@contextlib.contextmanager
def private_directory(socket_path: Path) -> Iterator[Path]:
    """Keep the directory beside a control socket: nobody but this user may enter, and no other daemon has it.

    Who could enter would get at the applications' plain text.  It is locked (flock(2)) until this daemon ends, whatever
    becomes of the socket, and what a dead one has left is removed.  Raises CannotStart.
    """
    path = socket_path.with_name(socket_path.name + ".d")
    with _parent_of(socket_path):
        held = _locked(path, socket_path)
        try:
            _empty(held)
            yield path
        finally:
            _empty(held)
            if _is_at(path, held):  # else somebody has tidied up before us
                path.rmdir()
            os.close(held)


@contextlib.contextmanager
def listening(path: Path, mode: int = 0o600) -> Iterator[socket.socket]:
    """Listen at ``path``, for whom ``mode`` lets in.  Raises CannotStart."""
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise CannotStart(
            f"the socket's path has more than {_LONGEST_PATH_BYTES} bytes: {path}; choose a shorter one with --socket"
        )
    with socket.socket(socket.AF_UNIX, _KIND | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as listener:
        try:
            _remove_stale(path)
            previous = os.umask(0o777 & ~mode)
            try:
                listener.bind(str(path))
            finally:
                os.umask(previous)
            listener.listen(1024)
            ours = path.stat().st_ino
        except OSError as error:
            raise _cannot_listen(path, error) from None
        try:
            yield listener
        finally:
            if path.exists() and path.stat().st_ino == ours:
                path.unlink()


def _cannot_listen(path: Path, error: OSError) -> CannotStart:
    return CannotStart(f"cannot listen at {path}: {error.strerror}; choose another place with --socket")


@contextlib.contextmanager
def _parent_of(path: Path) -> Iterator[None]:
    """Make the directory that a socket is to be in, not those above, and remove it at the end when it was made here."""
    try:
        path.parent.mkdir(mode=0o755)
    except FileExistsError:
        yield
        return
    except OSError as error:
        raise _cannot_listen(path, error) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # somebody else has a use for it by now
            path.parent.rmdir()


def _locked(path: Path, socket_path: Path) -> int:
    """Return a descriptor of the directory, which is made where it is missing, and locked."""
    while True:
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise CannotStart(f"cannot make {path}: {error.strerror}; choose another place with --socket") from None
        try:
            found = os.fstat(held)
            if found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise CannotStart(f"others may enter {path}; remove it, or choose another place with --socket")
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, held):  # else its daemon ended between our finding and our locking it
                return held
        except BlockingIOError:
            who = f"another ssad, process {_holder(found.st_ino)}, has {socket_path}"
            os.close(held)
            raise CannotStart(f"{who}; stop it, or choose another place with --socket") from None
        except CannotStart:
            os.close(held)
            raise
        os.close(held)


def _holder(inode: int) -> str:
    """Return the number of the process that has locked a file, as /proc/locks says (proc_locks(5))."""
    for line in Path("/proc/locks").read_text("ascii").splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return words[4]
    return "unknown"


def _is_at(path: Path, held: int) -> bool:
    return path.exists() and os.path.samestat(path.lstat(), os.fstat(held))


def _empty(directory: int) -> None:
    for leftover in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(leftover, dir_fd=directory)


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, _KIND) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise CannotStart(f"somebody else listens at {path}; stop that, or choose another place with --socket")
    path.unlink()
