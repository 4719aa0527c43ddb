"""What is downloaded: bytes that do not compress, the same on every machine, whose SHA-256 is known.

The stream is SHAKE-256 of ``ssa-content-<seed>-<block>``, 1 MiB to a block, so that a body of any size needs
little memory and a shorter one is the beginning of a longer one.  One MB is 1 000 000 bytes, as in the
paper's harness, which stopped reading at that number.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Content:
    """One file under a document root."""

    path: Path
    size_bytes: int
    sha256: str  # hexadecimal

    @property
    def name(self) -> str:
        """The file's name, and its path in the URL."""
        return self.path.name

    @classmethod
    def write(cls, directory: Path, size_bytes: int, *, seed: int = 0) -> Content:
        """Write the body into ``directory`` (made if missing) under its name, e.g. ``1MB.bin``; atomically.

        An existing file of that name is kept if it has the right size and hash, and replaced if not.
        ValueError for a negative size; OSError (ENOSPC, EACCES ...) as it comes.
        """
        path = directory / name_of(size_bytes)
        digest = hashlib.sha256()
        for block in stream(size_bytes, seed):
            digest.update(block)
        if not _holds(path, size_bytes, digest.hexdigest()):
            directory.mkdir(parents=True, exist_ok=True)
            _write_atomically(path, stream(size_bytes, seed))
        return cls(path, size_bytes, digest.hexdigest())


def name_of(size_bytes: int) -> str:
    """``1MB.bin`` for 1 000 000, ``1500000B.bin`` for what is not a whole number of MB."""
    if size_bytes < 0:
        raise ValueError(f"a body cannot have {size_bytes} bytes")
    megabytes, rest = divmod(size_bytes, MB)
    return f"{megabytes}MB.bin" if megabytes and not rest else f"{size_bytes}B.bin"


def stream(size_bytes: int, seed: int = 0) -> Iterator[bytes]:
    """The body in blocks of at most 1 MiB."""
    for number in range(0, -(-size_bytes // _BLOCK_BYTES)):
        length = min(_BLOCK_BYTES, size_bytes - number * _BLOCK_BYTES)
        yield hashlib.shake_256(f"ssa-content-{seed}-{number}".encode()).digest(length)


def _holds(path: Path, size_bytes: int, sha256: str) -> bool:
    if not path.is_file() or path.stat().st_size != size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def _write_atomically(path: Path, blocks: Iterator[bytes]) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).rename(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
