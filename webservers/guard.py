"""A small program between us and a server, so that the server cannot outlive us, whatever happens to us.

Run by path, with the standard library only: ``python -I -S guard.py GRACE_S -- PROGRAM ARGS...``

Theory of operation.  A parent-death signal set by the harness would be tied to the *thread* that started the
server, and would reach the first process only.  So the harness starts this program instead and holds the
write end of the pipe that is its standard input.  The guard is a child subreaper: every descendant whose
parent died becomes its own child, and none escapes.  It waits for one of three things: its program ends; a
SIGTERM or SIGINT arrives; the pipe closes (the harness died).  Then the program gets SIGTERM, after the
grace SIGKILL, then all that is left of it SIGKILL, and the guard exits with the program's status when the
last descendant has been reaped.  Should the guard itself be killed, the kernel kills the program
(PR_SET_PDEATHSIG; the guard has one thread only).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_STDIN = 0


def parents() -> dict[int, int]:
    """Every process that can be seen now, with its parent (zombies included)."""
    found: dict[int, int] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 (this is also a program that must start quickly)
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_bytes()
            except OSError:
                continue  # it ended while we looked
            found[int(entry)] = int(stat.rpartition(b")")[2].split()[1])
    return found


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, nearest first, without itself."""
    children: dict[int, list[int]] = {}
    for child, parent in parents().items():
        children.setdefault(parent, []).append(child)
    found = list(children.get(pid, ()))
    for child in found:  # grows while it is walked
        found.extend(children.get(child, ()))
    return found


class _Guard:
    def __init__(self, grace_s: float, argv: list[str]) -> None:
        self._grace_s = grace_s
        self._wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        self._asked_to_end = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._pid = os.getpid()
        self._program = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            preexec_fn=self._in_child,  # noqa: PLW1509 (no threads here)
        )

    def _prctl(self, option: int, value: int) -> None:
        if self._libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")

    def _in_child(self) -> None:
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:  # the guard died in between
            os._exit(1)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number != signal.SIGCHLD:
            self._asked_to_end = True

    def _wait(self, timeout_s: float | None, *, watch_stdin: bool) -> None:
        """Return after a signal, or the time, or (then asked to end) when the pipe has closed."""
        descriptors = [self._wakeup_read, *([_STDIN] if watch_stdin else [])]
        ready, _, _ = select.select(descriptors, [], [], timeout_s)
        if self._wakeup_read in ready:
            os.read(self._wakeup_read, 4096)
        if _STDIN in ready and not os.read(_STDIN, 4096):
            self._asked_to_end = True

    def _reap_orphans(self) -> None:
        """Collect descendants that became our children; the program itself is Popen's."""
        for pid, parent in parents().items():
            if parent == self._pid and pid != self._program.pid:
                os.waitpid(pid, os.WNOHANG)

    def run(self) -> int:
        while self._program.poll() is None and not self._asked_to_end:
            self._wait(None, watch_stdin=True)
            self._reap_orphans()
        if self._program.poll() is None:
            self._program.terminate()
        deadline = time.monotonic() + self._grace_s
        while self._program.poll() is None and (left_s := deadline - time.monotonic()) > 0:
            self._wait(left_s, watch_stdin=False)
        self._end_all()
        status = self._program.wait()
        return status if status >= 0 else 128 - status

    def _end_all(self) -> None:
        while below := descendants(self._pid):
            for pid in below:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # reaped by its own parent meanwhile
            self._program.poll()
            self._reap_orphans()
            if descendants(self._pid):
                self._wait(0.05, watch_stdin=False)


def main(argv: list[str]) -> int:
    """Guard ``argv[2:]``; ``argv[0]`` is the grace in seconds, ``argv[1]`` the two dashes."""
    try:
        guard = _Guard(float(argv[0]), argv[2:])
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[2]}: {error.strerror}\n")
        return 127
    return guard.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
