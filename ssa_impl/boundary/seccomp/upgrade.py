"""TCP_UPGRADE_TLS: another socket takes the place of the application's TCP socket, under the same descriptor numbers.

The kernel puts it there (SECCOMP_ADDFD_FLAG_SETFD); what it cannot do is to carry over the registrations in epoll
instances, which belong to the open file and not to the number.  They are made again by a child for whom the number
means first the one, then the other.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...abi import IPPROTO_TLS, MAX_HOSTNAME_BYTES, TCP_UPGRADE_TLS
from ...control.messages import Hello, Reply, Upgrade
from .calls import Calls
from .entry import Entry, PendingConnect
from .notify import Listener, Notification
from .processes import Process

_libc = ctypes.CDLL(None, use_errno=True)
_EVENT = struct.Struct("<IQ" if os.uname().machine == "x86_64" else "@IQ")  # packed on x86-64 only (linux/eventpoll.h)
_TARGET = re.compile(r"tfd:\s*(\d+) events:\s*([0-9a-f]+) data:\s*([0-9a-f]+)")
_CTL_ADD, _CTL_DEL = 1, 2


@dataclass(frozen=True)
class Registration:
    """One descriptor in an epoll instance of the application."""

    instance: int
    number: int
    events: int
    data: int


class Upgrades:
    """The handlers for TCP sockets of the application that are to become secure sockets."""

    def __init__(
        self,
        listener: Listener,
        calls: Calls,
        open_channel: Callable[[], Entry],
        adopt: Callable[[Entry], None],
        drop: Callable[[Entry], None],
    ) -> None:
        self._listener = listener
        self._calls = calls
        self._open_channel = open_channel
        self._adopt = adopt
        self._drop = drop
        self._prepared: dict[int, Entry] = {}  # by the inode of the TCP socket

    @staticmethod
    def is_meant(level: int, name: int) -> bool:
        """Whether an option of a socket that is not ours concerns us."""
        return level == IPPROTO_TLS or (level, name) == (socket.IPPROTO_TCP, TCP_UPGRADE_TLS)

    def set_option(self, call: Notification, process: Process, inode: int) -> None:
        """setsockopt(descriptor, IPPROTO_TLS, ...) before an upgrade, or the upgrade."""
        tcp = process.take_socket(call.arguments[0] & 0xFFFFFFFF)
        try:
            if tcp.family not in {socket.AF_INET, socket.AF_INET6} or tcp.type != socket.SOCK_STREAM:
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
            entry = self._prepared.get(inode) or self._prepare(process, inode, tcp.family)
            if call.arguments[1] & 0xFFFFFFFF == IPPROTO_TLS:
                self._calls.set_option(call, process, entry)
            else:
                self._upgrade(call, process, entry, inode, tcp)
        finally:
            tcp.close()

    def get_option(self, call: Notification, process: Process, inode: int) -> bool:
        """getsockopt(descriptor, IPPROTO_TLS, ...) before an upgrade, or after it failed; False for other sockets."""
        if (entry := self._prepared.get(inode)) is None:
            return False
        self._calls.get_option(call, process, entry)
        return True

    def forget_but(self, open_inodes: set[int]) -> None:
        """Hang up for TCP sockets that were closed without having been upgraded."""
        for inode in self._prepared.keys() - open_inodes:
            self._drop(self._prepared.pop(inode))

    def __len__(self) -> int:
        return len(self._prepared)

    def _prepare(self, process: Process, inode: int, family: int) -> Entry:
        entry = self._prepared[inode] = self._open_channel()
        entry.ask(lambda number: Hello(number, family, process.pid), lambda _: None)
        return entry

    def _upgrade(self, call: Notification, process: Process, entry: Entry, inode: int, tcp: socket.socket) -> None:
        length = call.arguments[4] & 0xFFFFFFFF
        if length > MAX_HOSTNAME_BYTES:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        hostname = process.read(call.arguments[3], length)
        blocking = not fcntl.fcntl(tcp, fcntl.F_GETFL) & os.O_NONBLOCK

        def finish(code: int) -> bool:
            return self._finish(call, process, entry, inode, code)

        if self._calls.resume(call, entry, finish):
            return
        application, daemons = socket.socketpair()
        application.setblocking(blocking)
        if entry.replacement is not None:
            entry.replacement.close()  # of an upgrade that failed
        entry.replacement = application
        entry.connect = PendingConnect(call.id, finish)
        with daemons:
            descriptors = [tcp.fileno(), daemons.fileno()]
            if not blocking:
                descriptors.append(application.fileno())

            def answered(reply: Reply | None) -> None:
                self._calls.connect_ended(entry, reply)

            entry.ask(lambda number: Upgrade(number, hostname, blocking), answered, descriptors)

    def _finish(self, call: Notification, process: Process, entry: Entry, inode: int, code: int) -> bool:
        if not self._listener.is_waiting(call.id):
            return False
        replacement = entry.replacement
        if code in {0, errno.EINPROGRESS} and replacement is not None:
            self._replace(call, process, inode, replacement)
            entry.inode = os.fstat(replacement.fileno()).st_ino
            entry.replacement = None
            replacement.close()
            self._prepared.pop(inode, None)
            self._adopt(entry)
        return self._listener.answer(call.id, error=code)

    def _replace(self, call: Notification, process: Process, inode: int, replacement: socket.socket) -> None:
        for number in process.descriptors_of(inode):
            move_registrations(process, number, replacement)
            flags = os.O_CLOEXEC if _closes_on_exec(process.pid, number) else 0
            self._listener.replace(call.id, replacement.fileno(), number, flags)


def registrations(process: Process, number: int) -> list[Registration]:
    """Return where a descriptor of the process is registered (/proc/PID/fdinfo, proc(5))."""
    found = []
    for entry in Path(f"/proc/{process.pid}/fdinfo").iterdir():
        try:
            text = entry.read_text("ascii")
        except OSError:
            continue  # closed meanwhile
        for target, events, data in _TARGET.findall(text):
            if int(target) == number:
                found.append(Registration(int(entry.name), number, int(events, 16), int(data, 16)))
    return found


def move_registrations(process: Process, number: int, replacement: socket.socket) -> None:
    """Register ``replacement`` wherever the process has registered ``number``, with the same events and data."""
    if not (found := registrations(process, number)):
        return
    taken = process.take_descriptor(number)
    instances = [process.take_descriptor(registration.instance) for registration in found]
    child = os.fork()
    if child == 0:
        _move_in_child(taken, replacement.fileno(), list(zip(instances, found, strict=True)))
    for descriptor in (taken, *instances):
        os.close(descriptor)
    os.waitpid(child, 0)


def _move_in_child(old: int, new: int, found: list[tuple[int, Registration]]) -> None:
    """Never returns.  All descriptors go out of the way first: the number may be one of them."""
    try:
        number = found[0][1].number
        floor = number + 1
        old, new = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, floor) for descriptor in (old, new))
        targets = [(fcntl.fcntl(instance, fcntl.F_DUPFD_CLOEXEC, floor), wanted) for instance, wanted in found]
        for operation, meant in ((_CTL_DEL, old), (_CTL_ADD, new)):
            os.dup2(meant, number)
            for instance, wanted in targets:
                event = ctypes.create_string_buffer(_EVENT.pack(wanted.events, wanted.data), _EVENT.size)
                _libc.epoll_ctl(instance, operation, number, event)
    finally:
        os._exit(0)


def _closes_on_exec(pid: int, number: int) -> bool:
    text = Path(f"/proc/{pid}/fdinfo/{number}").read_text("ascii")
    flags = re.search(r"flags:\s*([0-7]+)", text)
    return flags is not None and bool(int(flags[1], 8) & os.O_CLOEXEC)
