"""Files that only grow, one JSON object a line: what was acknowledged is never lost and never torn.

A line is acknowledged when it, its newline and the fsync are done.  What lies behind the last newline was
therefore never acknowledged (the machine or the process stopped in the middle) and is cut off when the file
is opened again.  When the disk is full in the middle of a line, what was written of it is taken back at once.
"""

from __future__ import annotations

import lzma
import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError

ARCHIVED_SUFFIX = ".xz"


class AppendFile:
    """One file, open for appending."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.cut(len(complete_part(path.read_bytes())))

    @property
    def size_bytes(self) -> int:
        """All of it acknowledged."""
        return self._size

    def append(self, lines: Sequence[str]) -> None:
        """Write all of the lines, or none.

        They are on the disk when it returns.  HarnessError when they cannot be, or the file has been deleted.
        """
        if os.fstat(self._descriptor).st_nlink == 0:
            raise HarnessError(f"{self._path} was deleted while it was written to; nothing of it is left.")
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            self._write(data)
            os.fsync(self._descriptor)
        except OSError as error:
            self.cut(self._size)
            raise HarnessError(f"Cannot write {self._path}: {error.strerror}.") from error
        self._size += len(data)

    def cut(self, size_bytes: int) -> None:
        """Take back what lies behind ``size_bytes``."""
        os.ftruncate(self._descriptor, size_bytes)
        os.fsync(self._descriptor)
        self._size = size_bytes

    def close(self) -> None:
        """Everything is on the disk already."""
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        at = self._size
        while data:
            count = os.pwrite(self._descriptor, data, at)
            data, at = data[count:], at + count


def read_lines_file(path: Path) -> bytes:
    """The content of a JSONL file, or of its compressed form in an archived campaign.

    OSError, lzma.LZMAError.
    """
    packed = path.with_name(path.name + ARCHIVED_SUFFIX)
    if packed.is_file() and not path.exists():
        return lzma.decompress(packed.read_bytes())
    return path.read_bytes()


def complete_part(data: bytes) -> bytes:
    """Without a torn last line."""
    return data[: data.rfind(b"\n") + 1]


def is_torn(data: bytes) -> bool:
    """Whether the last line was never acknowledged."""
    return len(complete_part(data)) != len(data)
