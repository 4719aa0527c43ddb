"""A small program that runs a command in a named network namespace, and becomes it (the process id stays).

Run by path, with the standard library only, as it stands before every client: ``python -I -S enter.py NAME
-- PROGRAM ARGS...``.  Exit code 3 and one sentence when the namespace cannot be entered, 127 when there is
no such program.
"""

from __future__ import annotations

import os
import sys

CLONE_NEWNET = 0x40000000  # linux/sched.h
DIRECTORY = "/run/netns"  # where iproute2 keeps its own, so that `ip netns exec NAME` works too


def enter(name: str) -> None:
    """Move the calling thread into the namespace; OSError if that cannot be."""
    descriptor = os.open(f"{DIRECTORY}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(descriptor)
    finally:
        os.close(descriptor)


def _setns(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, CLONE_NEWNET)
    else:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def main(argv: list[str]) -> int:
    """Enter ``argv[0]`` and run ``argv[2:]``; ``argv[1]`` is the two dashes."""
    try:
        enter(argv[0])
    except OSError as error:
        sys.stderr.write(f"cannot enter the network namespace {argv[0]}: {error.strerror}\n")
        return 3
    try:
        os.execvp(argv[2], argv[2:])
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[2]}: {error.strerror}\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
