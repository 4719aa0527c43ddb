"""What this kernel and container allow: each thing is tried, in a child, and not looked up.

The trial of the seccomp boundary is one whole call: a child under the real filter calls socket(), and the supervisor's
part is done for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn

from ..abi import IPPROTO_TLS
from .preload.launch import PreloadUnavailable, require_library
from .seccomp.filter import Architecture, architecture, build
from .seccomp.notify import Listener, SeccompUnavailable, install

_PATIENCE_MS = 5000
_WORD = ctypes.create_string_buffer(b"what a supervisor reads")
_EBUSY_TEXT = "already under another notifying filter"
_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class SeccompTrial(NamedTuple):
    """Why each part does not work, "" where it does, None where it could not be tried."""

    notification: str
    memory: str | None = None
    descriptors: str | None = None

    def why_not(self) -> str:
        """Return the first obstacle, "" when there is none."""
        return self.notification or self.memory or self.descriptors or ""

    def outer_notifier(self) -> bool | None:
        """Whether another filter's notifier is in the way; None when that cannot be told."""
        if not self.notification:
            return False
        return True if _EBUSY_TEXT in self.notification else None


def try_seccomp() -> SeccompTrial:
    """Try the seccomp boundary in a child."""
    try:
        arch = architecture()
    except KeyError:
        return SeccompTrial(f"system call numbers of {os.uname().machine} are not known here")
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        _call_socket(theirs, arch)
    number = theirs.fileno()
    theirs.close()
    try:
        with ours:
            data, descriptors, _, _ = socket.recv_fds(ours, 4096, 1)
            if not descriptors:
                return SeccompTrial(data.decode() or "the trial's child ended without a word")
            try:
                return _supervise(child, number, descriptors[0], arch)
            finally:
                os.close(descriptors[0])  # without us the child's call fails, and the child ends
    finally:
        os.waitpid(child, 0)


def _call_socket(report: socket.socket, arch: Architecture) -> NoReturn:
    """In the child: hand the listener over and make one call that is notified."""
    try:
        listener = install(build(arch), arch)
        socket.send_fds(report, [b"+"], [listener])
        os.close(listener)
        _libc.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS)
    except SeccompUnavailable as why:
        report.send(str(why).encode())
    finally:
        os._exit(0)


def _supervise(child: int, number: int, descriptor: int, arch: Architecture) -> SeccompTrial:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    listener = Listener(descriptor)
    call = listener.receive() if poll.poll(_PATIENCE_MS) else None
    if call is None:
        return SeccompTrial("the filter was accepted, but no notification came")
    memory, descriptors = _read_memory(child), _take_descriptor(child, number, arch)
    try:
        given = listener.give(call.id, descriptor, 0)
    except OSError as error:
        given = False
        os.kill(child, signal.SIGKILL)
        if error.errno == errno.EINVAL:
            return SeccompTrial("this kernel cannot answer with a descriptor: it needs Linux 5.14 or newer")
    return SeccompTrial("" if given else "a notification could not be answered", memory, descriptors)


def _read_memory(child: int) -> str:
    room = ctypes.create_string_buffer(len(_WORD))
    here = _Iovec(ctypes.addressof(room), len(room))
    there = _Iovec(ctypes.addressof(_WORD), len(_WORD))  # a child of fork has it at the same place
    copied = _libc.process_vm_readv(child, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if copied == len(room) and room.raw == _WORD.raw:
        return ""
    return _denied("process_vm_readv", ctypes.get_errno())


def _take_descriptor(child: int, number: int, arch: Architecture) -> str:
    pidfd = os.pidfd_open(child)
    taken = _libc.syscall(arch.pidfd_getfd, pidfd, number, 0)
    code = ctypes.get_errno()
    os.close(pidfd)
    if taken < 0:
        return _denied("pidfd_getfd", code)
    os.close(taken)
    return ""


def _denied(call: str, code: int) -> str:
    if code == errno.ENOSYS:
        return f"{call} is not there: it needs a newer kernel, or one that the container does not hide"
    return (
        f"{call} on a child fails with {os.strerror(code)}: the container or Yama forbids it; allow ptrace of children"
    )


def ptrace_scope() -> int | None:
    """Return Yama's setting, None where there is no Yama."""
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text("ascii"))
    except (OSError, ValueError):
        return None


def try_preload() -> str:
    """Run a program with the library; return why that does not work, "" when it does."""
    try:
        library = require_library()
    except PreloadUnavailable as why:
        return str(why)
    program = f"import socket\ntry: socket.socket(2, 1, {IPPROTO_TLS})\nexcept OSError as e: print(e.errno)"
    environment = {**os.environ, "LD_PRELOAD": str(library), "SSAD_SOCKET": "/nowhere/control.sock"}
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    if done.stdout.strip() == str(errno.ENOTCONN):
        return ""
    reason = done.stderr.strip().splitlines()[-1:] or ["the library was loaded, and is not called"]
    return f"a program cannot be run with {library}: {reason[0]}"


def is_reachable(daemon: Path) -> str:
    """Connect to the daemon; return why that does not work, "" when it does."""
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as end:
        try:
            end.connect(str(daemon))
        except OSError as error:
            return error.strerror or str(error)
    return ""
