"""Where the daemon is.  By itself, since what starts a program reads it first; the preload library does the same."""

from __future__ import annotations

import os
from pathlib import Path


def default_path() -> Path:
    """Where ssad listens unless told otherwise: $SSAD_SOCKET, then the user's or the system's runtime directory."""
    if path := os.environ.get("SSAD_SOCKET"):
        return Path(path)
    if os.geteuid() != 0 and (runtime := os.environ.get("XDG_RUNTIME_DIR")):
        return Path(runtime) / "ssad" / "control.sock"
    return Path("/run/ssad/control.sock")
