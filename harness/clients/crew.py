"""The n processes of one trial, as their parent sees them: forked, released, collected, buried.

Nobody is ever waited for without an end.  Whoever is not done when the time is up is killed and reported as
late; whoever dies is reported as dead; the others are not disturbed.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import time

from harness.clients.client import ClientKind, Report, Stations
from harness.clients.stages import Baton, Board, Gate, Muster, Phase
from harness.clients.target import Target

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LEAD_NS = 5_000_000  # between the gate's opening and the release: everybody must be asleep again by then
_LEAD_PER_PROCESS_NS = 100_000
_libc = ctypes.CDLL(None)


class OrphanedError(Exception):
    """Whoever commands this fleet is gone."""


class Crew:
    """n forked processes.

    ``command_fd`` is where orders come from: when its other end is closed, waiting ends.
    """

    def __init__(self, kind: ClientKind, target: Target, processes: int, command_fd: int) -> None:
        self._kind = kind
        self._command_fd = command_fd
        self._n = processes
        baton = Baton() if target.profile == "paper-2018" else None  # set up one after the other
        self._at = Stations(Board(processes), Muster(), Gate(), Muster(), Gate(), baton)
        self._reports: dict[int, int] = {}  # read end -> process
        self._pids: list[int] = []
        self._late: set[int] = set()
        try:
            for process in range(processes):
                self._fork(process, target)
        except BaseException:
            self.bury()
            raise
        self._at.ready.all_forked()
        self._at.done.all_forked()

    def _fork(self, process: int, target: Target) -> None:
        read_end, write_end = os.pipe()
        self._reports[read_end] = process
        if self._at.baton is not None:
            self._at.baton.before_fork()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(process, target, write_end, parent)
        if self._at.baton is not None:
            self._at.baton.after_fork()
        os.close(write_end)
        self._pids.append(pid)

    def _be_child(self, process: int, target: Target, write_end: int, parent: int) -> None:
        status = 1
        try:
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() == parent:
                for stage in (self._at.ready, self._at.done, self._at.release, self._at.afterwards):
                    stage.in_child()
                if self._at.baton is not None:
                    self._at.baton.in_child()
                for read_end in self._reports:
                    os.close(read_end)
                self._kind.live(process, self._at, target, write_end)
                status = 0
        finally:
            os._exit(status)

    @property
    def pids(self) -> tuple[int, ...]:
        """Of the processes 0 ... n-1."""
        return tuple(self._pids)

    def wait_ready(self, deadline_ns: int) -> bool:
        """Until everybody is ready or dead (true), or the time is up (false)."""
        return self._wait(self._at.ready.read_end, deadline_ns)

    def release(self) -> int:
        """Let them run; returns the intended release, CLOCK_MONOTONIC."""
        moment = time.monotonic_ns() + _LEAD_NS + self._n * _LEAD_PER_PROCESS_NS
        self._at.board.release_ns = moment
        self._at.release.open()
        return moment

    def wait_done(self, deadline_ns: int) -> bool:
        """Until everybody is done or dead (true); whoever is not when the time is up is killed (false)."""
        if self._wait(self._at.done.read_end, deadline_ns):
            return True
        self._kill([process for process in range(self._n) if self._at.board.phase(process) != Phase.DONE])
        return False

    def collect(self, deadline_ns: int) -> list[Report]:
        """Let them hash and report; afterwards none of them exists any more."""
        self._at.afterwards.open()
        texts = self._read_reports(deadline_ns)
        self._kill([process for process in range(self._n) if process not in texts])
        endings = self._reap()
        return [
            self._kind.read(texts[process]) if texts.get(process) else self._obituary(process, endings[process])
            for process in range(self._n)
        ]

    def bury(self) -> None:
        """Kill whoever still lives, reap everybody, give every descriptor back.

        May be called at any time, once.
        """
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        self._reap()
        for part in (self._at.ready, self._at.done, self._at.release, self._at.afterwards, self._at.board):
            part.close()
        if self._at.baton is not None:
            self._at.baton.close()
        for read_end in self._reports:
            os.close(read_end)

    def _kill(self, processes: list[int]) -> None:
        for process in processes:
            os.kill(self._pids[process], signal.SIGKILL)  # not reaped yet, so the number is still its own
        self._late.update(processes)

    def _reap(self) -> list[int]:
        endings = [os.waitpid(pid, 0)[1] for pid in self._pids]
        self._pids = []
        return endings

    def _read_reports(self, deadline_ns: int) -> dict[int, bytes]:
        """What every process wrote, by process; a process that is missing did not end in time."""
        parts = {descriptor: bytearray() for descriptor in self._reports}
        ended: dict[int, bytes] = {}
        poll = self._poll(*parts)
        while parts and (ready := self._ready(poll, deadline_ns)):
            for descriptor in ready:
                data = os.read(descriptor, 65_536)
                parts[descriptor] += data
                if not data:
                    poll.unregister(descriptor)
                    ended[self._reports[descriptor]] = bytes(parts.pop(descriptor))
        return ended

    def _obituary(self, process: int, ending: int) -> Report:
        doing = self._at.board.phase(process).doing
        how = f"was ended by {_signal_name(-os.waitstatus_to_exitcode(ending))}" if ending else "ended"
        late = process in self._late
        error = f"Not finished in time: it was still {doing}." if late else f"The process {how} {doing}."
        return {"process": process, "pid": None, "ok": False, "late": late, "error": error, "errno": None}

    def _wait(self, descriptor: int, deadline_ns: int) -> bool:
        return bool(self._ready(self._poll(descriptor), deadline_ns))

    def _poll(self, *descriptors: int) -> select.poll:
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.register(self._command_fd, 0)  # POLLHUP and POLLERR only
        return poll

    def _ready(self, poll: select.poll, deadline_ns: int) -> list[int]:
        """Descriptors that can be read.

        Empty when the time is up.  OrphanedError when nobody commands any more.
        """
        remaining_ms = max(0.0, (deadline_ns - time.monotonic_ns()) / 1e6)
        ready = [descriptor for descriptor, _ in poll.poll(remaining_ms)]
        if self._command_fd in ready:
            raise OrphanedError
        return ready


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"exit code {-number}"
