"""Globs of executables, as the kernel names what runs: without symbolic links (proc_pid_exe(5))."""

from __future__ import annotations

import os
import re

from .complaints import Wrong
from .shapes import one_or_more, text


def executables(value: object) -> tuple[str, ...]:
    """Read one glob or a list of some; raises Wrong.

    Where a symbolic link leads is added, up to the first part with a wildcard: /bin/curl is /usr/bin/curl on most
    systems, and a rule for the one must not miss the other.
    """
    found: dict[str, None] = {}
    for glob in one_or_more(text)(value):
        if not glob.startswith(("/", "**/")):
            raise Wrong(f'"{glob}" is no absolute path', f'write "/usr/bin/{glob}", or "**/{glob}" for any directory')
        found |= {glob: None, _resolved(glob): None}
    return tuple(found)


def _resolved(glob: str) -> str:
    wildcard = re.search(r"[*?]", glob)
    if wildcard is None:
        return os.path.realpath(glob)
    fixed, slash, rest = glob[: wildcard.start()].rpartition("/")
    return os.path.realpath(fixed or "/").rstrip("/") + slash + rest + glob[wildcard.start() :] if slash else glob
