"""The administrator's files: where they are, and reading them without trusting whoever could have written them.

A file must be regular, small, owned by root or by the daemon's user, and writable by its owner alone; so must be the
directory that it stands in (one with the sticky bit will do, as /tmp).
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .complaints import Complaint, PolicyFileErrors, Wrong
from .lines import key_lines
from .model import Origin

VENDOR = Path(__file__).parent / "vendor"
CRYPTO_POLICIES = Path("/etc/crypto-policies/back-ends/opensslcnf.config")
_MAX_POLICY_BYTES = 1 << 20
_MAX_TRUST_BYTES = 16 << 20
_MAX_DROP_INS = 256
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class PolicyPaths:
    """Where a policy's files are."""

    named: tuple[Path, ...] = ()
    """files and directories that somebody named, the weakest first: each must be there"""
    usual: Path | None = None
    """directory of ``ssa.toml`` and ``ssa.d``, either of which may be missing"""
    crypto_policies: Path = CRYPTO_POLICIES
    """the system's crypto-policies for OpenSSL"""

    @classmethod
    def system(cls) -> PolicyPaths:
        """Return the machine's: ``/etc/ssa``."""
        return cls(usual=Path("/etc/ssa"))

    @classmethod
    def user(cls) -> PolicyPaths:
        """Return one user's: ``$XDG_CONFIG_HOME/ssa``, by default ``~/.config/ssa``."""
        return cls(usual=Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "ssa")

    @classmethod
    def at(cls, *paths: Path | str) -> PolicyPaths:
        """Return these: a file, or a directory with ``ssa.toml`` or ``ssa.d``; what comes later is stronger."""
        return cls(named=tuple(map(Path, paths)))


@dataclass(frozen=True)
class Document:
    """One file that was read."""

    file: str
    table: Mapping[str, Any]
    lines: Mapping[tuple[str | int, ...], int]
    strength: int = 0
    """of two documents the one with the higher number decides"""

    def origin(self, *path: str | int) -> Origin:
        """Return where a key stands, or the nearest table that holds it."""
        found = (self.lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.lines)
        return Origin(self.file, next(found, 1))


def read_documents(paths: PolicyPaths) -> tuple[Document, ...]:
    """Return what is there, the weakest first, below it what the package brings.  Raises PolicyFileErrors."""
    complaints: list[Complaint] = []
    documents = [_read_document(path, packaged=True) for path in sorted(VENDOR.glob("*.toml"))]
    for path in _found(paths, complaints):
        try:
            documents.append(_read_document(path))
        except PolicyFileErrors as errors:
            complaints += errors.complaints
    if complaints:
        raise PolicyFileErrors(complaints)
    return tuple(replace(document, strength=number) for number, document in enumerate(documents))


def _found(paths: PolicyPaths, complaints: list[Complaint]) -> list[Path]:
    found: list[Path] = []
    for path in (*paths.named, *([paths.usual] if paths.usual else [])):
        known = len(complaints)
        is_directory = _is_directory(path, complaints)
        if is_directory:
            inside = _inside(path, complaints)
            if not inside and path in paths.named and len(complaints) == known:
                complaints.append(Complaint(str(path), 0, "", "the directory holds no ssa.toml and no ssa.d/*.toml"))
            found += inside
        elif path in paths.named and len(complaints) == known:
            found.append(path)
        elif is_directory is False:
            complaints.append(Complaint(str(path), 0, "", "this must be a directory"))
    return found


def _is_directory(path: Path, complaints: list[Complaint]) -> bool | None:
    """Say whether it is one; None when nothing is there.  What cannot be looked at is a complaint, and not missing."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False if path.is_symlink() else None
    except OSError as error:
        complaints.append(Complaint(str(path), 0, "", f"cannot be looked at: {error.strerror}"))
        return None


def _inside(directory: Path, complaints: list[Complaint]) -> list[Path]:
    main, drop_ins = directory / "ssa.toml", directory / "ssa.d"
    found = [main] if _is_directory(main, complaints) is not None else []
    try:
        if _is_directory(drop_ins, complaints) is not None:
            found += sorted(path for path in drop_ins.iterdir() if path.suffix == ".toml")
    except OSError as error:
        complaints.append(Complaint(str(drop_ins), 0, "", f"cannot be listed: {error.strerror}"))
    if len(found) > _MAX_DROP_INS:
        complaints.append(Complaint(str(drop_ins), 0, "", f"more than {_MAX_DROP_INS} files", "put them together"))
        return []
    return found


def _read_document(path: Path, *, packaged: bool = False) -> Document:
    file = path.name if packaged else str(path)
    try:
        text = (path.read_bytes() if packaged else read_trusted(path, _MAX_POLICY_BYTES)).decode("utf-8")
        text = text.replace("\r\n", "\n")
        return Document(f"vendor/{file}" if packaged else file, tomllib.loads(text), key_lines(text))
    except Wrong as wrong:
        raise PolicyFileErrors([Complaint(file, 0, "", wrong.text, wrong.suggestion)]) from None
    except UnicodeDecodeError:
        raise PolicyFileErrors([Complaint(file, 0, "", "the file is not UTF-8, as TOML must be")]) from None
    except RecursionError:
        raise PolicyFileErrors([Complaint(file, 0, "", "the file nests its values too deeply")]) from None
    except tomllib.TOMLDecodeError as error:
        reason, line = _reason(str(error), text.count("\n") + 1)
        raise PolicyFileErrors([Complaint(file, line, "", f"not TOML: {reason}")]) from None
    except ValueError:  # int(): more digits than it converts
        raise PolicyFileErrors([Complaint(file, 0, "", "the file has a number of thousands of digits")]) from None


def _reason(text: str, last_line: int) -> tuple[str, int]:
    """Take apart what tomllib says: ``Invalid value (at line 3, column 7)``."""
    reason, found, place = text.partition(" (at ")
    digits = place.removeprefix("line ").partition(",")[0]
    return (reason, int(digits) if digits.isdigit() else last_line) if found else (text, 0)


def read_trusted(path: Path, limit_bytes: int = _MAX_TRUST_BYTES) -> bytes:
    """Return a file's content.  Raises Wrong when it cannot be read, or when others could have written it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError) as error:
        raise Wrong(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise Wrong(f"{path} is no regular file")
        _check_writers(path, state)
        _check_writers(path.resolve().parent, path.resolve().parent.stat())
        content = b""
        while len(content) <= limit_bytes and (more := os.read(descriptor, limit_bytes + 1 - len(content))):
            content += more
    except OSError as error:
        raise Wrong(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if len(content) > limit_bytes:
        raise Wrong(f"{path} has more than {limit_bytes} bytes")
    return content


def _check_writers(path: Path, state: os.stat_result) -> None:
    if state.st_uid not in {0, os.geteuid()}:
        raise Wrong(f"{path} belongs to user {state.st_uid}", "let root or the daemon's user own it")
    if state.st_mode & _OTHERS and not (stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX):
        raise Wrong(f"{path} can be written by others than its owner", "chmod go-w")
