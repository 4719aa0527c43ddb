"""The kernel's side of user notification: structures and ioctls of linux/seccomp.h, seccomp_unotify(2)."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from .filter import Architecture

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER = 1
_FLAG_NEW_LISTENER = 1 << 3

_NOTIF = struct.Struct("=QIIiIQ6Q")  # id, pid, flags; then seccomp_data: nr, arch, ip, args
_RESPONSE = struct.Struct("=QqiI")  # id, val, error, flags
_ADDFD = struct.Struct("=QIIII")  # id, flags, srcfd, newfd, newfd_flags
_ID = struct.Struct("=Q")

_IOCTL_RECV = 0xC0502100
_IOCTL_SEND = 0xC0182101
_IOCTL_ID_VALID = 0x40082102
_IOCTL_ADDFD = 0x40182103

_RESPONSE_CONTINUE = 1
_ADDFD_SETFD = 1
_ADDFD_SEND = 2

_libc = ctypes.CDLL(None, use_errno=True)


class SeccompUnavailable(Exception):
    """The kernel or the container does not allow user notification; the text says what would make it work."""


@dataclass(frozen=True)
class Notification:
    """One trapped call; ``thread`` is the caller's thread id as this process sees it."""

    id: int
    thread: int
    number: int
    arguments: tuple[int, ...]


def install(program: bytes, arch: Architecture) -> int:
    """Put this thread, and all it starts, under ``program``; return the listener.  Raises SeccompUnavailable.

    Sets no_new_privs first, without which only CAP_SYS_ADMIN may install filters (prctl(2)).
    """
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise SeccompUnavailable(f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(ctypes.get_errno())}")
    listener: int = _libc.syscall(arch.seccomp, _SET_MODE_FILTER, _FLAG_NEW_LISTENER, ctypes.c_char_p(header))
    if listener < 0:
        raise SeccompUnavailable(_why(ctypes.get_errno()))
    return listener


def _why(code: int) -> str:
    advice = {
        errno.ENOSYS: "this kernel has no seccomp filters: it needs CONFIG_SECCOMP_FILTER",
        errno.EINVAL: "this kernel has no user notification: it needs Linux 5.14 or newer",
        errno.EBUSY: "the process is already under another notifying filter: one per process tree is allowed",
        errno.EACCES: "the container forbids seccomp(2): allow it in the container's own seccomp profile",
        errno.EPERM: "the container forbids seccomp(2): allow it in the container's own seccomp profile",
    }
    return advice.get(code, os.strerror(code))


class Listener:
    """The supervisor's end.  Every call on a notification that is no more returns False: that is normal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> Notification | None:
        """Take one notification; None when the caller was interrupted meanwhile."""
        buffer = bytearray(_NOTIF.size)
        try:
            fcntl.ioctl(self._descriptor, _IOCTL_RECV, buffer)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EINTR}:
                return None
            raise
        identity, thread, _flags, number, _arch, _ip, *arguments = _NOTIF.unpack(buffer)
        return Notification(identity, thread, number, tuple(arguments))

    def is_waiting(self, identity: int) -> bool:
        """Say whether the caller still waits; what was read from it before this is true of it."""
        return self._tell(_IOCTL_ID_VALID, _ID.pack(identity))

    def answer(self, identity: int, value: int = 0, error: int = 0) -> bool:
        """Let the call return ``value``, or fail with the errno ``error``."""
        return self._tell(_IOCTL_SEND, _RESPONSE.pack(identity, value, -error, 0))

    def let_pass(self, identity: int) -> bool:
        """Let the kernel perform the call as if nobody had looked."""
        return self._tell(_IOCTL_SEND, _RESPONSE.pack(identity, 0, 0, _RESPONSE_CONTINUE))

    def give(self, identity: int, descriptor: int, flags: int) -> bool:
        """Put a copy of ``descriptor`` into the caller and let the call return its number, in one step."""
        return self._tell(_IOCTL_ADDFD, _ADDFD.pack(identity, _ADDFD_SEND, descriptor, 0, flags))

    def replace(self, identity: int, descriptor: int, number: int, flags: int) -> bool:
        """Put a copy of ``descriptor`` into the caller as ``number``, as dup2(2) would; the call waits on."""
        return self._tell(_IOCTL_ADDFD, _ADDFD.pack(identity, _ADDFD_SETFD, descriptor, number, flags))

    def _tell(self, request: int, argument: bytes) -> bool:
        while True:
            try:
                fcntl.ioctl(self._descriptor, request, argument)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno in {errno.ENOENT, errno.EINPROGRESS}:
                    return False
                raise
            return True
