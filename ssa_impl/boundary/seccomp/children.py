"""The supervisor as a parent: it adopts the application's orphans and buries the dead.

Adopting keeps every process of the application among the supervisor's descendants, where it may look at their
descriptors and memory; without it, a daemon's double fork leaves sockets that nobody seems to have open.  Burying at
once matters to the kernel as well: before Linux 6.11 a process keeps its filter until it has been waited for, and the
listener would never hear that nobody is left.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (prctl(2)); before the first child is started."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Children:
    """Who of the children has ended; ``fileno`` is readable when there is somebody to bury."""

    def __init__(self, program: int) -> None:
        self._program = program
        self._status: int | None = None
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self.bury()  # who has ended before we listened

    def fileno(self) -> int:
        return self._read

    def bury(self) -> None:
        """Wait for everybody who has ended."""
        try:
            while os.read(self._read, 512):
                pass
        except BlockingIOError:
            pass
        try:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._note(*ended)
        except ChildProcessError:
            return

    def program_status(self) -> int:
        """Wait for the program itself; return its wait status."""
        while self._status is None:
            self._note(*os.waitpid(self._program, 0))
        return self._status

    def close(self) -> None:
        """Listen no more."""
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)

    def _note(self, pid: int, status: int) -> None:
        if pid == self._program:
            self._status = status
