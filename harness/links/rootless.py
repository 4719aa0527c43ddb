"""A small program that runs a command in a user and mount namespace of its own, and becomes it.

In them an ordinary user is root over networks that it makes itself, and over nothing else (user_namespaces(7)); files
are still its own.  Run by path, with the standard library only, as :mod:`harness.links.enter` is: ``python -I -S
rootless.py PROGRAM ARGS...``, and without a program to try whether a network namespace could then be made.  Exit code
3 and one sentence when this machine does not allow it, 127 when there is no such program.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000  # linux/sched.h
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # linux/mount.h
_CAP_SYS_ADMIN = 21  # linux/capability.h
_COMMAND = (sys.executable, "-I", "-S", __file__)


def is_needed() -> bool:
    """Whether this process may not make network namespaces as it is (CAP_SYS_ADMIN, capabilities(7))."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (effective,) = (int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return not effective >> _CAP_SYS_ADMIN & 1


def is_possible() -> bool:
    """Whether this machine lets it; tried in a process that ends with it."""
    return subprocess.run(_COMMAND, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def begin_again() -> None:
    """Begin this program again, with the same arguments, in namespaces of its own; returns never."""
    os.execv(sys.executable, (*_COMMAND, sys.executable, *sys.orig_argv[1:]))


def _become_root() -> None:
    """Move this process into new namespaces, where its user is root; OSError where that is not allowed."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    _check(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def main(argv: list[str]) -> int:
    """Become root in new namespaces and run ``argv``; with nothing in it, make a network namespace and end."""
    try:
        _become_root()
        if not argv:
            _check(ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET))
            return 0
    except OSError as error:
        sys.stderr.write(f"no user namespace of its own for an ordinary user here: {error.strerror}\n")
        return 3
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[0]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
