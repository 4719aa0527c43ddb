"""Standard streams that were closed, are full, or are read by nobody: one sentence at most, and a defined exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

CANNOT_WRITE = 1
"""exit code: what was asked for could not be written to standard output"""


class _Unheard(io.FileIO):
    """Standard error: what cannot be said there changes nothing."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def standard_streams(program: str, *, inherited: bool = True) -> Iterator[None]:
    """Run a command line on streams that can be relied on; ``inherited``: by its children, too.

    Ends with CANNOT_WRITE when standard output fails, silently when its reader has ended.
    """
    _open_closed(inherited)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:  # all else has its own sentence
        _discard()
        if error.errno != errno.EPIPE:
            sys.stderr.write(f"{program}: cannot write: {error.strerror}\n")
        sys.exit(CANNOT_WRITE)


def _open_closed(inherited: bool) -> None:
    """Let no file of ours take a standard number; to a closed standard output writing still fails (EBADF)."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 1 else os.O_RDWR)
            os.set_inheritable(number, inherited)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")
    elif isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout.reconfigure(errors="backslashreplace")  # a path's bytes, or a terminal's few letters
    if sys.stderr is not sys.__stderr__:  # somebody has taken what is said
        return
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    unheard = io.BufferedWriter(_Unheard(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(unheard, encoding, "backslashreplace", line_buffering=True)


def _discard() -> None:
    """Let what was not written yet go nowhere: the interpreter flushes once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
