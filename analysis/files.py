"""Reading without waiting, and writing a file whole or not at all; what this package writes goes through here."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from pathlib import Path

from analysis.errors import AnalysisError, DataError


def directory(path: Path) -> Path:
    """Make ``path`` and what is above it, where they are missing.

    Raises:
        DataError: it cannot be made (exit code 2).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be made: {error.strerror}") from None
    return path


def get(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        OSError: it cannot be read; EINVAL for a pipe or a device, which may never begin or end.
    """
    with io.FileIO(path, opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.readall() or b""


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def put(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` by way of a temporary file beside it.

    Raises:
        AnalysisError: it cannot be written (exit code 1).
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written: {error.strerror}") from None
    return path
