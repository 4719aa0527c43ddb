"""Programs with standard streams that are closed, full, or read by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

CLOSED, FULL, BROKEN = "closed", "full", "broken"
KINDS = (CLOSED, FULL, BROKEN)


def run(module: str, arguments: Sequence[str], **streams: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with streams (stdin, stdout, stderr) of these kinds; what is not named is caught."""
    opened = {name: _opened(kind) for name, kind in streams.items() if kind != CLOSED}
    closed = [number for number, name in enumerate(("stdin", "stdout", "stderr")) if streams.get(name) == CLOSED]
    shell = ["sh", "-c", 'exec "$@" ' + " ".join(f"{number}>&-" for number in closed), "sh"]
    caught = {name: subprocess.PIPE for name in ("stdout", "stderr") if name not in opened}
    try:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [*shell, sys.executable, "-m", module, *arguments], text=True, check=False, timeout=120, **caught, **opened
        )
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _opened(kind: str) -> int:
    if kind == FULL:
        return os.open("/dev/full", os.O_WRONLY)
    read, write = os.pipe()
    os.close(read)
    return write
