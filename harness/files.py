"""Files that a person names: read without waiting for anybody, and never without end; places that are tried first."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from pathlib import Path

SMALL_BYTES = 1 << 20
"""a plan, generously"""


def read_small(path: Path, limit_bytes: int = SMALL_BYTES) -> bytes:
    """The content.  OSError, also for what is no regular file (EINVAL) or larger than that (EFBIG)."""
    with io.BufferedReader(io.FileIO(path, opener=_at_once)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes} bytes", str(path))
    return content


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def try_place(path: Path) -> None:
    """Whether a directory could be made at or in ``path``, whose parents may be missing; nothing stays.  OSError."""
    there = next(one for one in (path, *path.parents) if os.path.lexists(one))
    tempfile.TemporaryDirectory(prefix=".", dir=there).cleanup()
