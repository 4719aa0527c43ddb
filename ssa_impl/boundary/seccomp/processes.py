"""The application's processes, as the supervisor sees them: memory, descriptors, files, credentials.

Reading another process needs the right to trace it (ptrace(2), Yama): the supervisor is the application's ancestor and
so has it, for ordinary users too.  A thread id is resolved anew with every call, unless it is that of a process that is
known to be alive: numbers are reused, live processes' are not.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import socket
import stat
from collections.abc import Iterator

from ...abi import MAX_FILE_BYTES
from .filter import Architecture

_libc = ctypes.CDLL(None, use_errno=True)
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Process:
    """One process (thread group) that uses secure sockets."""

    def __init__(self, pid: int, arch: Architecture) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._arch = arch

    def is_alive(self) -> bool:
        """Whether the process number still means this process."""
        try:
            signal.pidfd_send_signal(self.pidfd, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def close(self) -> None:
        """Forget the process."""
        os.close(self.pidfd)

    # -- memory

    def read(self, address: int, size_bytes: int) -> bytes:
        """Copy from the process.  OSError(EFAULT) for a bad address."""
        buffer = ctypes.create_string_buffer(size_bytes)
        self._copy(_libc.process_vm_readv, buffer, address, size_bytes)
        return buffer.raw

    def write(self, address: int, data: bytes) -> None:
        """Copy into the process.  OSError(EFAULT) for a bad address."""
        self._copy(_libc.process_vm_writev, ctypes.create_string_buffer(data, len(data)), address, len(data))

    def _copy(self, call: object, buffer: ctypes.Array[ctypes.c_char], address: int, size_bytes: int) -> None:
        if not size_bytes:
            return
        local = _Iovec(ctypes.addressof(buffer), size_bytes)
        remote = _Iovec(address, size_bytes)
        copied = call(self.pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)  # type: ignore[operator]
        if copied != size_bytes:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))

    # -- descriptors

    def socket_inode(self, descriptor: int) -> int | None:
        """Return the inode of the socket behind a descriptor number, None when it is no socket."""
        try:
            target = os.readlink(f"/proc/{self.pid}/fd/{descriptor}")  # noqa: PTH115
        except OSError:
            return None
        return int(target[8:-1]) if target.startswith("socket:[") else None

    def socket_inodes(self) -> set[int]:
        """Return the inodes of all sockets that the process has open."""
        inodes = set()
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{self.pid}/fd"):  # noqa: PTH208
                if (inode := self.socket_inode(int(descriptor))) is not None:
                    inodes.add(inode)
        return inodes

    def find_socket(self, inode: int) -> socket.socket | None:
        """Get a copy of the socket with this inode, whatever its number; None when the process has it no more."""
        with contextlib.suppress(OSError):
            for descriptor in map(int, os.listdir(f"/proc/{self.pid}/fd")):  # noqa: PTH208
                if self.socket_inode(descriptor) == inode:
                    return self.take_socket(descriptor)
        return None

    def descriptors_of(self, inode: int) -> list[int]:
        """Return the numbers under which it has the socket with this inode."""
        with contextlib.suppress(OSError):
            numbers = map(int, os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208
            return [number for number in numbers if self.socket_inode(number) == inode]
        return []

    def take_socket(self, descriptor: int) -> socket.socket:
        """Get a copy of one of its sockets (pidfd_getfd(2)).  OSError as the kernel says."""
        return socket.socket(fileno=self.take_descriptor(descriptor))

    def take_descriptor(self, descriptor: int) -> int:
        """Get a copy of one of its descriptors.  OSError as the kernel says."""
        taken: int = _libc.syscall(self._arch.pidfd_getfd, self.pidfd, descriptor, 0)
        if taken < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return taken

    # -- files

    def open_file(self, path: bytes, *, directories: bool) -> int:
        """Read a file as the process would: its working directory, its rights.  OSError as the kernel says.

        Return a copy in memory: whoever gets it need not wait for a file system.  A directory, where allowed, becomes
        the PEM files in it, one after the other.  A process with a root of its own (chroot, container) gets EACCES: its
        path means nothing here.
        """
        if self._has_own_root():
            raise PermissionError(errno.EACCES, "the process has another root directory than its supervisor")
        base = os.open(f"/proc/{self.pid}/cwd", os.O_PATH | os.O_CLOEXEC)
        try:
            with self._with_its_rights():
                opened = os.open(self._meant(path), _OPEN_FLAGS, dir_fd=base)
                try:
                    if not stat.S_ISDIR(os.fstat(opened).st_mode):
                        return _copied(opened)
                    if not directories:
                        raise OSError(errno.EINVAL, "a directory, where a file is needed")
                    return _concatenated(opened)
                finally:
                    os.close(opened)
        finally:
            os.close(base)

    def absolute(self, path: bytes) -> bytes | None:
        """Return a path from the root directory on; None when it means nothing here."""
        try:
            if self._has_own_root():
                return None
            return os.path.join(os.readlink(b"/proc/%d/cwd" % self.pid), path)  # noqa: PTH115, PTH118
        except OSError:
            return None

    def _has_own_root(self) -> bool:
        return not os.path.samestat(os.stat(f"/proc/{self.pid}/root"), os.stat("/"))  # noqa: PTH116

    def _meant(self, path: bytes) -> bytes:
        """Return the path that means here what the process means by ``path``."""
        own = b"/proc/%d/" % self.pid
        for name, here in ((b"/proc/self/", own), (b"/proc/thread-self/", own), (b"/dev/fd/", own + b"fd/")):
            if path.startswith(name):
                return here + path[len(name) :]
        return path

    @contextlib.contextmanager
    def _with_its_rights(self) -> Iterator[None]:
        """Take on the process's file-system identity, where it is not our own (a server that gave up root)."""
        wanted = self._credentials()
        ours = (os.geteuid(), os.getegid(), os.getgroups())
        if wanted == ours:
            yield
            return
        _become(*wanted, first=True)
        try:
            yield
        finally:
            _become(*ours, first=False)

    def _credentials(self) -> tuple[int, int, list[int]]:
        fields: dict[str, list[int]] = {}
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
            for line in status:
                name, _, rest = line.partition(":")
                if name in {"Uid", "Gid", "Groups"}:
                    fields[name] = [int(number) for number in rest.split()]
        return fields["Uid"][3], fields["Gid"][3], fields["Groups"]


def _become(uid: int, gid: int, groups: list[int], *, first: bool) -> None:
    """Set effective ids; the order keeps the right to set the others until the last."""
    if first:
        os.setgroups(groups)
        os.setegid(gid)
        os.seteuid(uid)
    else:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def _copied(file: int) -> int:
    """Return a memory file with what a regular file holds, up to what is too much for the daemon."""
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    result, size_bytes = os.memfd_create("file", os.MFD_CLOEXEC), 0
    try:
        while size_bytes <= MAX_FILE_BYTES and (content := os.read(file, 1 << 20)):
            size_bytes += os.write(result, content)
    except BaseException:
        os.close(result)
        raise
    return result


def _concatenated(directory: int) -> int:
    """Return a memory file with every regular file of ``directory`` that looks like PEM."""
    result = os.memfd_create("anchors", os.MFD_CLOEXEC)
    for name in sorted(os.listdir(directory)):
        try:
            opened = os.open(name, _OPEN_FLAGS, dir_fd=directory)
        except OSError:
            continue  # a dangling link or a file of somebody else is no anchor
        try:
            if stat.S_ISREG(os.fstat(opened).st_mode):
                content = os.read(opened, 1 << 20)
                if b"-----BEGIN" in content:
                    os.write(result, content.rstrip(b"\n") + b"\n")
        finally:
            os.close(opened)
    return result


def thread_group(thread: int) -> int:
    """Return the process that a thread belongs to.  OSError when it is gone."""
    with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("Tgid:"):
                return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
