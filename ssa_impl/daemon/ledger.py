"""How many secure sockets each user has in the whole daemon, counted where all its workers see it.

The ledger is a file without a name in the kernel's memory: a row for each user id there can be, a column for each
worker.  It is sparse, so that a user takes one page of it from the first socket on.  A worker writes its own column
alone and reads whole rows, so there is nothing to lock and nobody to ask: whoever opens a socket counts it first, and
then looks.  Two workers that count the last free place at the same moment may both refuse; they never both accept.

The parent gives columns out, the lowest ones first, and clears that of a worker which has ended, however it did.
"""

from __future__ import annotations

import os
import struct
import sys
import weakref
from contextlib import suppress

COLUMNS = 1024
"""workers that there can be at a time, those that have retired included"""
_COUNT = struct.Struct("=I")
_ROW_BYTES = COLUMNS * _COUNT.size
_EVERYBODY = 0xFFFF_FFFF
"""the row of all users together: no user has this id (chown(2))"""
_ROWS = _EVERYBODY + 1
_CAST_OUT = 0xFFFF_FFFF
"""a number leaves the sum of its digits when this is cast out of it, as with nines: the quickest sum of a row"""


def _create() -> int:
    file = os.memfd_create("ssa-ledger", os.MFD_CLOEXEC)
    os.truncate(file, _ROWS * _ROW_BYTES)
    return file


class Book:
    """The parent's side: which columns are whose."""

    def __init__(self) -> None:
        self.file = _create()
        self._given: set[int] = set()

    def close(self) -> None:
        """Forget everything."""
        os.close(self.file)

    def has_room_for(self, count: int) -> bool:
        """Whether there are so many columns that nobody has."""
        return len(self._given) + count <= COLUMNS

    def column(self) -> int:
        """Return a column for a worker that starts."""
        found = next(column for column in range(COLUMNS) if column not in self._given)
        self._given.add(found)
        return found

    def clear(self, column: int) -> None:
        """Count nothing for a worker that has ended."""
        offset = 0
        with suppress(OSError):  # ENXIO: no further row was ever written (lseek(2))
            while True:
                offset = os.lseek(self.file, offset, os.SEEK_DATA)
                row = offset // _ROW_BYTES
                os.pwrite(self.file, _COUNT.pack(0), row * _ROW_BYTES + column * _COUNT.size)
                offset = (row + 1) * _ROW_BYTES
        self._given.discard(column)


class Ledger:
    """A worker's side."""

    def __init__(self, file: int | None = None, column: int = 0) -> None:
        """Without a file the worker is the only one."""
        self._file = _create() if file is None else file
        self._offset = column * _COUNT.size
        self.close = weakref.finalize(self, os.close, self._file)
        self._own: dict[int, int] = {_EVERYBODY: 0}

    def enter(self, uid: int) -> None:
        """Count one more of this user's."""
        self._add(uid, 1)
        self._add(_EVERYBODY, 1)

    def leave(self, uid: int) -> None:
        """Count one less."""
        self._add(uid, -1)
        self._add(_EVERYBODY, -1)

    def held(self, uid: int = _EVERYBODY) -> int:
        """Return how many a user has in all workers, or all users have."""
        row = os.pread(self._file, _ROW_BYTES, uid * _ROW_BYTES)
        return int.from_bytes(row, sys.byteorder) % _CAST_OUT

    def own(self, uid: int) -> int:
        """Return how many a user has in this worker."""
        return self._own.get(uid, 0)

    def _add(self, uid: int, change: int) -> None:
        count = self._own.get(uid, 0) + change
        os.pwrite(self._file, _COUNT.pack(count), uid * _ROW_BYTES + self._offset)
        if count or uid == _EVERYBODY:
            self._own[uid] = count
        else:
            del self._own[uid]
