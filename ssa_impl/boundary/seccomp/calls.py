"""What each notified call means: arguments out of the caller's memory, a request to the daemon, the answer back in.

Handlers never wait.  They raise OSError for what they can refuse themselves; the supervisor turns that into the errno.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path

from ...abi import IPPROTO_TLS, MAX_VALUE_BYTES, NAME_PREFIX, OPTIONS, Kind, Opt
from ...control import channel as control
from ...control.messages import Bind, Connect, GetName, GetOption, Hello, Message, Refusal, Reply, SetByPath, SetOption
from .entry import Entry, PendingBind, PendingConnect
from .notify import Listener, Notification
from .processes import Process

_INT = struct.Struct("=i")
_MAX_SOCKADDR_BYTES = 512
_BY_NAME = {Kind.CHAIN, Kind.KEY}
_BY_PATH = {Kind.PEM, *_BY_NAME}
_EDAEMON = {True: errno.ECONNRESET, False: errno.ENOTCONN}  # by: was there an open connection


class Calls:
    """The handlers; one instance per supervisor.

    ``adopt`` takes up the entry of a socket that the application has now; ``again`` forgets the sockets that nobody has
    open and then calls back, or says that there are none.
    """

    def __init__(
        self,
        listener: Listener,
        daemon: Path,
        adopt: Callable[[Entry], None],
        again: Callable[[Callable[[], None]], bool],
    ) -> None:
        self._listener = listener
        self._daemon = daemon
        self._adopt = adopt
        self._again = again

    # -- socket

    def socket(self, call: Notification, process: Process) -> Entry:
        """socket(family, type, IPPROTO_TLS); ENOTCONN when no daemon can be reached."""
        family, kind = _int(call.arguments[0]), call.arguments[1]
        entry = self.dial()

        def answered(reply: Reply | None) -> None:
            code = errno.ENOTCONN if reply is None else reply.errno
            try:
                given = not code and self._hand_over(call, entry, kind)
            except OSError as error:  # the application has no descriptor left, or we have none
                given, code = False, error.errno or errno.EMFILE
            if not given:
                self._listener.answer(call.id, error=code)
                entry.hang_up()

        entry.ask(lambda number: Hello(number, family, process.pid), answered)
        return entry

    def dial(self) -> Entry:
        """Open a channel.  OSError(ENOTCONN) when no daemon can be reached."""
        try:
            return Entry(control.dial(self._daemon))
        except OSError:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN)) from None

    def _hand_over(self, call: Notification, entry: Entry, kind: int) -> bool:
        """Put the application's descriptor into the caller; False when it was interrupted meanwhile."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as application:
            application.setblocking(not kind & socket.SOCK_NONBLOCK)
            entry.inode = os.fstat(application.fileno()).st_ino
            given = self._listener.give(
                call.id, application.fileno(), os.O_CLOEXEC if kind & socket.SOCK_CLOEXEC else 0
            )
        if given:
            self._adopt(entry)
        return given

    # -- options

    def set_option(self, call: Notification, process: Process, entry: Entry) -> None:
        """setsockopt(descriptor, level, name, value, length)."""
        level, name, length = (_int(call.arguments[index]) for index in (1, 2, 4))
        if not 0 <= length <= MAX_VALUE_BYTES:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        value = process.read(call.arguments[3], length)
        if level == IPPROTO_TLS and _is_path(name, value):
            self._set_by_file(call, process, entry, name, value)
        else:
            self._ask_once(call, value, entry, lambda number: SetOption(number, level, name, value))

    def _set_by_file(self, call: Notification, process: Process, entry: Entry, name: int, value: bytes) -> None:
        path = value.rstrip(b"\0")
        try:
            if not path or b"\0" in path:
                raise OSError(errno.EINVAL, "an empty path, or a NUL inside it")
            opened = process.open_file(path, directories=OPTIONS[Opt(name)].kind is Kind.PEM)
        except OSError as error:
            code = errno.EACCES if error.errno == errno.EPERM else (error.errno or errno.EINVAL)
            whole = process.absolute(path) if OPTIONS[Opt(name)].kind in _BY_NAME else None
            if whole is not None and code in {errno.EACCES, errno.ENOENT}:  # the policy may have a key there
                self._ask_once(call, value, entry, lambda number: SetByPath(number, name, whole, code))
                return
            text = f"{path.decode('utf-8', 'replace')}: {error.strerror}"
            self._ask_once(call, value, entry, lambda number: Refusal(number, code, text))
            return
        try:
            self._ask_once(call, value, entry, lambda number: SetOption(number, IPPROTO_TLS, name, b"", True), opened)
        finally:
            os.close(opened)

    def _ask_once(
        self, call: Notification, value: bytes, entry: Entry, make: Callable[[int], Message], *descriptors: int
    ) -> None:
        entry.ask_once(_same(call, value), make, self.plain_answer(call, entry), descriptors)

    def get_option(self, call: Notification, process: Process, entry: Entry) -> None:
        """getsockopt(descriptor, level, name, room, length)."""
        level, name = _int(call.arguments[1]), _int(call.arguments[2])
        size = _INT.unpack(process.read(call.arguments[4], _INT.size))[0]
        if size < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if (level, name) == (socket.SOL_SOCKET, socket.SO_ERROR) and self._connect_result(call, process, entry, size):
            return

        def answered(reply: Reply | None) -> None:
            if reply is None or reply.errno:
                self._listener.answer(call.id, error=self.code(reply, entry))
            else:
                self._return_value(call, process, reply.value, size, exact=level == IPPROTO_TLS)

        entry.ask_once(_same(call, b""), lambda number: GetOption(number, level, name, size), answered)

    def _connect_result(self, call: Notification, process: Process, entry: Entry, size: int) -> bool:
        """SO_ERROR after an interrupted connect: its result, when there is one; True when that settles the call."""

        def tell(code: int) -> bool:
            return self._return_value(call, process, _INT.pack(code), size, exact=False)

        if entry.connect is not None and not self._listener.is_waiting(entry.connect.identity):
            entry.connect = PendingConnect(call.id, tell)
            return True
        if entry.undelivered is not None and tell(entry.undelivered):
            entry.undelivered = None
            return True
        return False

    def _return_value(self, call: Notification, process: Process, value: bytes, size: int, *, exact: bool) -> bool:
        """Write a value and its length into the caller.  A TLS value is never cut: ERANGE, and the length it needs."""
        if exact and len(value) > size:
            return self._write_back(call, process, {call.arguments[4]: _INT.pack(len(value))}, errno.ERANGE)
        length = _INT.pack(min(len(value), size))
        return self._write_back(call, process, {call.arguments[3]: value[:size], call.arguments[4]: length})

    # -- addresses

    def connect(self, call: Notification, process: Process, entry: Entry) -> None:
        """connect(descriptor, address, length)."""
        if self.resume(call, entry, lambda code: self._listener.answer(call.id, error=code)):
            return
        address = _sockaddr(call, process)
        with process.take_socket(_int(call.arguments[0])) as application:
            if os.fstat(application.fileno()).st_ino != entry.inode:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            blocking = not fcntl.fcntl(application, fcntl.F_GETFL) & os.O_NONBLOCK
            entry.connect = PendingConnect(call.id, lambda code: self._listener.answer(call.id, error=code))
            entry.ask(
                lambda number: Connect(number, address, blocking),
                lambda reply: self.connect_ended(entry, reply),
                [application.fileno()],
            )
            if entry.connect is not None:
                entry.connect.sent = True

    def resume(self, call: Notification, entry: Entry, tell: Callable[[int], bool]) -> bool:
        """A connect that was interrupted is made again: wait on, or take the result that came meanwhile."""
        if entry.undelivered is not None:
            if tell(entry.undelivered):
                entry.undelivered = None
            return True
        if entry.connect is None:
            return False
        if self._listener.is_waiting(entry.connect.identity):
            raise OSError(errno.EALREADY, os.strerror(errno.EALREADY))
        entry.connect = PendingConnect(call.id, tell)
        return True

    def connect_ended(self, entry: Entry, reply: Reply | None) -> None:
        """Tell whoever waits for the connect, or keep the result for who comes next."""
        code = self.code(reply, entry)
        pending, entry.connect = entry.connect, None
        entry.connected = code in {0, errno.EINPROGRESS}
        if pending is not None and not pending.tell(code):
            entry.undelivered = code

    def bind(self, call: Notification, process: Process, entry: Entry) -> None:
        """bind(descriptor, address, length)."""
        address = _sockaddr(call, process)
        earlier = entry.bind
        if earlier is not None and earlier.address == address and not self._listener.is_waiting(earlier.identity):
            earlier.identity = call.id
            if earlier.result is not None:
                self._bound(entry, earlier.result)
            return
        entry.bind = PendingBind(call.id, address)
        self._bind(entry, address, first=True)

    def _bind(self, entry: Entry, address: bytes, *, first: bool) -> None:
        """Bind; when the address is in use, perhaps by a listener that the application has closed, once again."""

        def answered(reply: Reply | None) -> None:
            code = self.code(reply, entry)
            retry = partial(self._bind, entry, address, first=False)
            if not (first and code == errno.EADDRINUSE and self._again(retry)):
                self._bound(entry, code)

        entry.ask(lambda number: Bind(number, address), answered)

    def _bound(self, entry: Entry, code: int) -> None:
        """Tell whoever waits for the bind; keep the result when nobody does any more."""
        if entry.bind is not None:
            entry.bind.result = code
            if self._listener.answer(entry.bind.identity, error=code):
                entry.bind = None

    def get_name(self, call: Notification, process: Process, entry: Entry, *, peer: bool) -> None:
        """getsockname or getpeername(descriptor, room, length)."""
        size = _INT.unpack(process.read(call.arguments[2], _INT.size))[0]
        if size < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        def answered(reply: Reply | None) -> None:
            if reply is None or reply.errno:
                self._listener.answer(call.id, error=self.code(reply, entry))
            else:
                length = _INT.pack(len(reply.value))
                self._write_back(call, process, {call.arguments[1]: reply.value[:size], call.arguments[2]: length})

        entry.ask_once(_same(call, b""), lambda number: GetName(number, peer), answered)

    # -- answers

    def _write_back(self, call: Notification, process: Process, values: dict[int, bytes], error: int = 0) -> bool:
        """Write into the caller's memory and end its call; False when it was interrupted meanwhile."""
        if not self._listener.is_waiting(call.id):
            return False
        try:
            for address, value in values.items():
                process.write(address, value)
        except OSError:
            error = errno.EFAULT
        return self._listener.answer(call.id, error=error)

    def plain_answer(self, call: Notification, entry: Entry) -> Callable[[Reply | None], None]:
        """Return what lets a call end with the daemon's errno."""

        def answered(reply: Reply | None) -> None:
            self._listener.answer(call.id, error=self.code(reply, entry))

        return answered

    @staticmethod
    def code(reply: Reply | None, entry: Entry) -> int:
        """Return the errno of an answer, or of none: the daemon is gone."""
        return (
            _EDAEMON[entry.connected or (entry.connect is not None and entry.connect.sent)]
            if reply is None
            else reply.errno
        )


def _same(call: Notification, value: bytes) -> Hashable:
    """What a call and its like have in common that is made because a signal interrupted it."""
    return call.thread, call.number, call.arguments, value


def _int(argument: int) -> int:
    """Return an argument of type int, as the kernel takes it: the low half, signed."""
    return ((argument & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def _sockaddr(call: Notification, process: Process) -> bytes:
    length = _int(call.arguments[2])
    if not 0 <= length <= _MAX_SOCKADDR_BYTES:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return process.read(call.arguments[1], length)


def _is_path(name: int, value: bytes) -> bool:
    """Whether an option that takes a path or PEM bytes was given a path."""
    row = OPTIONS.get(name)  # type: ignore[call-overload]  # any number may come; the daemon refuses unknown ones
    if row is None or row.kind not in _BY_PATH or (row.kind in _BY_NAME and value.startswith(NAME_PREFIX)):
        return False
    return b"-----BEGIN " not in value
