"""Named network namespaces: made, entered, swept.

A namespace is called ``ssa-PID-START-NUMBER-ROLE`` after the process that made it (START is its start time
in clock ticks, as process ids come again), so that what a killed run left behind can be told from what a
living one needs.  It is mounted where iproute2 mounts its own, and everything in it (veth, qdiscs,
addresses) goes with it.

A thread is what enters a namespace here (setns and unshare act on threads), never the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import itertools
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from harness.links import enter
from harness.links.interface import LinkUnavailableError

Result = TypeVar("Result")

_MS_BIND, _MS_REC, _MS_SHARED = 0x1000, 0x4000, 0x100000  # linux/mount.h
_MS_NOSUID, _MS_NODEV = 2, 4
_MNT_DETACH = 2  # bits/mount.h
_NAME = re.compile(r"ssa-(?P<pid>[1-9]\d*)-(?P<start>\d+)-\d+-[a-z]+", re.ASCII)
_number = itertools.count()

HOW = (
    "run as root (sudo), allow user namespaces to ordinary users, or run in a container with CAP_SYS_ADMIN"
    " and CAP_NET_ADMIN,"
)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process (or a zombie)."""
    try:
        fields = Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in b"ZX" else int(fields[19])


def owner(name: str) -> tuple[int, int] | None:
    """(pid, start time) from a namespace's name; None when the name is not one of ours."""
    match = _NAME.fullmatch(name)
    return (int(match["pid"]), int(match["start"])) if match else None


def argv_prefix(name: str) -> tuple[str, ...]:
    """What to put before a command so that it runs in that namespace."""
    return (sys.executable, "-I", "-S", enter.__file__, name, "--")


def sweep() -> list[str]:
    """Remove what dead runs left behind; returns the names.  Does nothing, quietly, without the rights."""
    swept = []
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(enter.DIRECTORY)):  # noqa: PTH208 (names, not paths)
            maker = owner(name)
            if maker is not None and start_time(maker[0]) != maker[1]:
                with contextlib.suppress(OSError):
                    _remove(name)
                    swept.append(name)
    return swept


@contextlib.contextmanager
def namespace(role: str) -> Iterator[str]:
    """A new namespace with its loopback down, for as long as the block runs.  Yields its name.

    LinkUnavailableError when it cannot be made.
    """
    name = f"ssa-{os.getpid()}-{start_time(os.getpid())}-{next(_number)}-{role}"
    try:
        in_thread(lambda: _make(name))
    except OSError as error:
        raise LinkUnavailableError(
            f"A network namespace cannot be made here ({error.strerror}); {HOW} to have one."
        ) from error
    try:
        yield name
    finally:
        _remove(name)


def inside(name: str, do: Callable[[], Result]) -> Result:
    """Call ``do`` in a thread that has entered the namespace; what it opens there stays there."""

    def entered() -> Result:
        enter.enter(name)
        return do()

    return in_thread(entered)


def in_thread(do: Callable[[], Result]) -> Result:
    """Call ``do`` in a thread of its own, which ends with it; its result or its exception is ours."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(do())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="ssa-link")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _make(name: str) -> None:
    """Runs in a thread that is thrown away: it stays in the new namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    _share_directory(libc)
    path = f"{enter.DIRECTORY}/{name}"
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    try:
        _check(libc.unshare(enter.CLONE_NEWNET))
        _check(libc.mount(b"/proc/thread-self/ns/net", path.encode(), b"none", _MS_BIND, None))
    except OSError:
        Path(path).unlink()
        raise


def _share_directory(libc: ctypes.CDLL) -> None:
    """As iproute2 does: a shared mount, so that an unmount reaches every mount namespace that copied it."""
    path = enter.DIRECTORY.encode()
    _have_directory(libc)
    if libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None) != 0:
        _check(libc.mount(path, path, b"none", _MS_BIND | _MS_REC, None))
        _check(libc.mount(b"", path, b"none", _MS_SHARED | _MS_REC, None))


def _have_directory(libc: ctypes.CDLL) -> None:
    """Make it.  Rootless, where /run is another user's, it stands in a file system of our own that covers /run."""
    directory = Path(enter.DIRECTORY)
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        if os.access(directory, os.W_OK):
            return
    except OSError:
        if not _is_rootless():
            raise
    if not _is_rootless():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    parent = str(directory.parent).encode()
    _check(libc.mount(b"ssa", parent, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755"))
    directory.mkdir(mode=0o755)


def _is_rootless() -> bool:
    """Whether this is not the first user namespace, whose ids are everybody's (user_namespaces(7))."""
    return Path("/proc/self/uid_map").read_text(encoding="ascii").split() != ["0", "0", "4294967295"]


def _remove(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    path = f"{enter.DIRECTORY}/{name}"
    libc.umount2(path.encode(), _MNT_DETACH)  # EINVAL when it was made but never mounted
    Path(path).unlink(missing_ok=True)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
