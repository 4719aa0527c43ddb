"""Writing a file whole or not at all; everything that this package writes goes through here."""

from __future__ import annotations

import os
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
