"""TLS sessions that initiators can resume, kept where all workers reach them without asking anybody.

They are in a file without a name in the kernel's memory, as the ledger is.  Its table has a row for the keys of one
hash, in a row are a few places, and each place has a head (whose key, until when, how long) and room for a session.
Only free places have a head of zeros, and so has everything that was never written: to forget is to cut the file off.

A worker locks the row while it keeps or takes something (fcntl_locking(2)), so nobody else can take the same session;
the kernel unlocks what a worker held that ended.  A session is written before its head and taken after its head was
cleared: whenever a worker is killed, none is found in part or twice.
"""

from __future__ import annotations

import fcntl
import os
import struct
import weakref
from collections.abc import Iterator

from ..tls.sessions import DIGEST_BYTES, Resumable

ROWS, PLACES = 512, 8
PLACE_BYTES = 16_384
"""room of one session: peers say how large it is, for it has their chain; a larger one is not kept"""
_HEAD = struct.Struct(f"={DIGEST_BYTES}sdI")
_FREE = bytes(_HEAD.size)
_ROW_BYTES = PLACES * _HEAD.size
_TRIES = 100
"""how often to look whether a row is free, which takes microseconds, unless another worker was stopped in it"""


def create() -> int:
    """Return a file for all workers; it takes as much memory as is kept, 64 MiB at most."""
    return os.memfd_create("ssa-sessions", os.MFD_CLOEXEC)


class Sessions:
    """A worker's side; times are of CLOCK_MONOTONIC, which all processes share."""

    def __init__(self, file: int | None = None) -> None:
        """Without a file the worker is the only one."""
        self._file = create() if file is None else file
        self.close = weakref.finalize(self, os.close, self._file)

    def keep(self, key: bytes, session: Resumable, until_s: float) -> None:
        """Keep a session until then, in place of the one in its row that ends first; not if it is too large."""
        content = session.to_bytes()
        if len(content) > PLACE_BYTES:
            return
        if not self._lock(row := _row_of(key)):
            return
        try:
            ends = [until_s for _, until_s, _ in self._heads(row)]
            place = ends.index(min(ends))
            if ends[place]:
                self._set_head(row, place, _FREE)
            os.pwrite(self._file, content, _room(row, place))
            self._set_head(row, place, _HEAD.pack(key, until_s, len(content)))
        finally:
            self._unlock(row)

    def take(self, key: bytes, now_s: float) -> Resumable | None:
        """Give the newest session of a key away; None when there is none that is still good."""
        if not self._lock(row := _row_of(key)):
            return None
        try:
            found = [
                (until_s, place, size)
                for place, (owner, until_s, size) in enumerate(self._heads(row))
                if owner == key and now_s < until_s and size <= PLACE_BYTES
            ]
            if not found:
                return None
            _, place, size = max(found)
            self._set_head(row, place, _FREE)
            content = os.pread(self._file, size, _room(row, place))
            return Resumable.from_bytes(content) if len(content) == size else None  # all was forgotten meanwhile
        finally:
            self._unlock(row)

    def forget(self) -> None:
        """Let nothing be resumed that was kept before."""
        os.truncate(self._file, 0)

    def _heads(self, row: int) -> Iterator[tuple[bytes, float, int]]:
        return _HEAD.iter_unpack(os.pread(self._file, _ROW_BYTES, row * _ROW_BYTES).ljust(_ROW_BYTES, b"\0"))

    def _set_head(self, row: int, place: int, head: bytes) -> None:
        os.pwrite(self._file, head, row * _ROW_BYTES + place * _HEAD.size)

    def _lock(self, row: int) -> bool:
        """Have a row to oneself; False when another worker does not let go of it."""
        for _ in range(_TRIES):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, row)
            except BlockingIOError:
                os.sched_yield()
            else:
                return True
        return False

    def _unlock(self, row: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, row)


def _row_of(key: bytes) -> int:
    return int.from_bytes(key[:2], "little") % ROWS


def _room(row: int, place: int) -> int:
    return ROWS * _ROW_BYTES + (row * PLACES + place) * PLACE_BYTES
