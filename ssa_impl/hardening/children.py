"""Processes of the daemon's own, started so that no signal meets them before they can say what it means to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

GROUP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""also sent to the whole process group (by a terminal, by kill -- -PGID): the parent's business alone"""


def start_module(
    module: str, descriptors: Sequence[int], arguments: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``python -m module DESCRIPTORS ARGUMENTS``; the descriptors are inherited, GROUP_SIGNALS are blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", module, *map(str, descriptors), *arguments],
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent() -> None:
    """In such a process: ignore what is also sent to the whole group."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
