"""Start a program under the filter and supervise it until the last process of its tree is gone."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from types import FrameType

from .children import Children, adopt_orphans
from .filter import Architecture, architecture, build
from .notify import Listener, SeccompUnavailable, install
from .supervisor import Supervisor

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class CannotStart(OSError):
    """The program could not be started; errno and text as execve(2) gave them."""


def run(command: list[str], daemon: Path) -> int:
    """Run ``command`` with secure sockets; return its exit code, 128 + N when signal N ended it.

    Raises SeccompUnavailable when this kernel or container does not allow it, CannotStart when the program cannot be
    started.
    """
    try:
        arch = architecture()
    except KeyError:
        raise SeccompUnavailable(f"system call numbers of {os.uname().machine} are not known here") from None
    adopt_orphans()
    ours, theirs = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGINT})  # until a child can have them
    child = os.fork()
    if child == 0:
        ours.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _become_application(command, theirs, arch)
    theirs.close()
    _pass_signals_on(child)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with ours:
        listener = _receive_listener(ours, child)
        failure = ours.recv(4096)  # empty once the program runs: the descriptor is closed on exec
    _raise_descriptor_limit()
    children = Children(child)
    Supervisor(Listener(listener), daemon, arch, children).run()
    code = os.waitstatus_to_exitcode(children.program_status())
    children.close()
    if failure:
        number, _, text = failure.decode().partition(" ")
        raise CannotStart(int(number), text)
    return 128 - code if code < 0 else code


def _raise_descriptor_limit() -> None:
    """Each secure socket takes a descriptor here; the program keeps the limit that it was started with."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _become_application(command: list[str], report: socket.socket, arch: Architecture) -> None:
    """In the child: install the filter, hand the listener over, become the program.  Never returns."""
    try:
        listener = install(build(arch), arch)
        socket.send_fds(report, [b"+"], [listener])
        os.close(listener)
        for restored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(restored, signal.SIG_DFL)
        os.execvp(command[0], command)
    except SeccompUnavailable as why:
        report.send(b"-" + str(why).encode())
    except OSError as error:  # the listener is over there: the supervisor reads this after it
        report.send(f"{error.errno} {error.strerror}".encode())
    finally:
        os._exit(127)


def _receive_listener(report: socket.socket, child: int) -> int:
    data, descriptors, _, _ = socket.recv_fds(report, 4096, 1)
    if descriptors:
        return descriptors[0]
    os.waitpid(child, 0)
    raise SeccompUnavailable(data[1:].decode() or "the program's process ended before it could be supervised")


def _pass_signals_on(child: int) -> None:
    """The supervisor outlives its application: it ends when the application does, not before."""
    pidfd = os.pidfd_open(child)

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the application as well
    sys.stdout.flush()
