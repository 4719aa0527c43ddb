"""The file that remembers which key a name had the first time.  Blocking: for a thread.

All workers share the file: each change is made under a lock (flock(2) of a file beside it) and put in place by
rename(2), so that a reader and a crash find either the old content or the new one.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATE_BYTES = 256 * 1024 * 1024
_Names = dict[str, dict[str, str]]


class Memory:
    """Pins by name.  OSError when the file cannot be read or written, ValueError when its content is damaged."""

    def __init__(self, path: str, max_names: int) -> None:
        self._path = Path(path)
        self._max_names = max_names
        self._seen: tuple[object, _Names] = (None, {})

    def recall(self, name: str) -> str | None:
        """Return the pin of a name, None when it was never seen."""
        entry = self._load().get(name)
        return entry["pin"] if entry else None

    def remember(self, name: str, pin: str, now: str) -> str:
        """Return the pin of a name; ``pin`` when it was never seen, which is kept from now on."""
        if kept := self.recall(name):
            return kept
        with self._locked():
            names = dict(self._load())
            if name in names:
                return names[name]["pin"]
            if len(names) >= self._max_names:
                raise OSError(f"{self._path} has {len(names)} names, and max_names allows no more")
            self._store(names | {name: {"pin": pin, "first_seen": now}})
        return pin

    def _load(self) -> _Names:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return {}
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > _STATE_BYTES:
                raise ValueError(f"{self._path} is no regular file, or too large")
            version = (found.st_ino, found.st_mtime_ns, found.st_size)
            if self._seen[0] != version:
                self._seen = (version, _names(json.load(file), self._path))
        return self._seen[1]

    def _store(self, names: _Names) -> None:
        beside = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"version": 1, "names": names}, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path.with_name(self._path.name + ".lock"), flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _names(content: object, path: Path) -> _Names:
    names = content.get("names") if isinstance(content, dict) and content.get("version") == 1 else None
    if not isinstance(names, dict) or not all(
        isinstance(e, dict) and isinstance(e.get("pin"), str) for e in names.values()
    ):
        raise ValueError(f"{path} is no file of first use; repair it, or remove it to begin anew")
    return names
