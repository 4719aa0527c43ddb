"""The kernel's calls that Python has no name for: prctl(2), and system calls by number."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE = 4
_PR_SET_NO_NEW_PRIVS = 38


class CannotHarden(Exception):
    """Something that was asked for is not in force; the text says what, and why."""


def prctl(option: int, *arguments: int) -> int:
    """Call prctl(2).  Raises OSError."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(option, *padded)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """Make a system call by its number.  Raises OSError."""
    words = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _libc.syscall(ctypes.c_long(number), *words)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def gain_nothing_by_exec() -> None:
    """Set no_new_privs: no program that is started has more rights than this process (prctl(2))."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def hide_memory() -> None:
    """Let no other process of the same user trace this one or read its memory, and dump no core (PR_SET_DUMPABLE).

    /proc/PID then belongs to root: debuggers, profilers and the listing of descriptors need root.  What a process
    reads about itself is not concerned.
    """
    prctl(_PR_SET_DUMPABLE, 0)
