"""Where the lines of the log go: to whoever reads them, who is never waited for.

A pipe, a socket or a terminal that nobody reads takes no more at some point, and a write would wait for ever.  So each
write is one that does not wait, and what is not taken at once is kept here, in order and up to a bound, until there is
room again; what is beyond is left out, and the next line that finds room says how much that was.

The descriptor is shared with whoever started the daemon and with its other processes, so O_NONBLOCK, which belongs to
all of them, is not for it: a pipe or a terminal is opened once more (proc_pid_fd(5)), a socket is asked at each send.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable
from functools import partial

KEPT_BYTES = 1 << 20
"""lines of one process that nobody has read yet"""
_LAST_WORDS_S = 0.5
"""how long a process that ends waits for whoever reads"""


class Outlet(logging.Handler):
    """Hands lines to the reader of a descriptor, which stays the caller's; one per process."""

    def __init__(
        self, descriptor: int, filled: Callable[[Outlet], bool] = lambda outlet: False, kept_bytes: int = KEPT_BYTES
    ) -> None:
        """``filled`` is called when something is kept: whether :meth:`hand_over` will be once there is room."""
        super().__init__()
        self._held = contextlib.ExitStack()
        self.descriptor, self._write = _opened(descriptor, self._held)
        self.is_full = False
        """whether the reader takes no more now"""
        self.is_attended = False
        """whether somebody waits for room; who does says when no more"""
        self._filled = filled
        self._room_bytes = kept_bytes
        self._lines: deque[memoryview] = deque()
        self._suppressed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a line over, or keep it."""
        if self._lines:
            self.hand_over()
        self._keep(record)
        self.hand_over()
        if self.is_full and not self.is_attended:
            self.is_attended = self._filled(self)

    def hand_over(self) -> None:
        """Write what is kept for as long as it is taken."""
        self.acquire()
        try:
            self.is_full = False
            while self._lines or self._suppressed:
                if not self._lines:
                    self._keep()
                self._advance(self._write(self._lines[0]))
        except BlockingIOError:
            self.is_full = True
        except OSError:  # a disk that is full: there may be room later on
            return
        finally:
            self.release()

    def close(self) -> None:
        """Give the reader a moment for what is kept; the rest is lost."""
        until_s = time.monotonic() + _LAST_WORDS_S
        room = select.poll()
        room.register(self.descriptor, select.POLLOUT)
        self.hand_over()
        while self.is_full and (left_s := until_s - time.monotonic()) > 0:
            room.poll(left_s * 1000)
            self.hand_over()
        self._held.close()
        super().close()

    def _keep(self, *records: logging.LogRecord) -> None:
        """Keep their lines and, in front of them, how many are missing; when there is no room, more are."""
        missing = [_missing(self._suppressed)] if self._suppressed else []
        lines = [self._line(record) for record in (*missing, *records)]
        if (size := sum(map(len, lines))) > self._room_bytes:
            self._suppressed += len(records)
            return
        self._lines.extend(lines)
        self._room_bytes -= size
        self._suppressed = 0

    def _line(self, record: logging.LogRecord) -> memoryview:
        return memoryview(f"{self.format(record)}\n".encode("utf-8", "backslashreplace"))

    def _advance(self, written: int) -> None:
        self._room_bytes += written
        self._lines[0] = self._lines[0][written:]
        if not self._lines[0]:
            self._lines.popleft()


def _missing(count: int) -> logging.LogRecord:
    text = "lines are missing here: nobody read the log, or it could not be written"
    level = {"levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({**level, "msg": text, "fields": {"suppressed": count}})


def _opened(descriptor: int, held: contextlib.ExitStack) -> tuple[int, Callable[[memoryview], int]]:
    """Return what to wait for, and a write to it that takes what there is room for, or raises BlockingIOError."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        end = held.enter_context(socket.socket(fileno=os.dup(descriptor)))
        return descriptor, lambda line: end.send(line, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    if stat.S_ISFIFO(mode) or os.isatty(descriptor):
        with contextlib.suppress(OSError):  # it is another user's
            again = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            held.callback(os.close, again)
            return again, partial(os.write, again)
    return descriptor, partial(_write_now if stat.S_ISFIFO(mode) else os.write, descriptor)


def _write_now(pipe: int, line: memoryview) -> int:
    try:
        return os.pwritev(pipe, [line], -1, os.RWF_NOWAIT)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # Linux before 6.4: it may wait
            raise
    return os.write(pipe, line)
