"""listen and accept: the supervisor takes peers off the application's listener, whose greeting the application must
not see.

A call that has to wait is kept; the listener is then watched, and the first caller that still waits gets the peer.

The daemon shall find the listener closed when the application has closed it, so no copy of it outlives the handling of
a call.  What watches it is an epoll instance of its own, the *queue*: that reports on a socket for as long as somebody
else has it open, and does not keep it open itself (epoll(7), questions and answers).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable, Iterator

from ...control.codec import MalformedMessage
from ...control.greeting import take_greeting
from ...control.messages import Listen, Reply
from .entry import Accept, Entry, Peer
from .notify import Listener, Notification
from .processes import Process

_INT = struct.Struct("=i")
_TIMEVAL = struct.Struct("@ll")
_GREETING_TIMEOUT = _TIMEVAL.pack(1, 0)
_FOREVER = _TIMEVAL.pack(0, 0)
_FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Listening:
    """The handlers; ``adopt`` takes up the entry of an accepted socket, ``watch`` and ``unwatch`` an entry's queue.

    ``later`` calls back after so many seconds.
    """

    def __init__(
        self,
        listener: Listener,
        adopt: Callable[[Entry], None],
        watch: Callable[[Entry], None],
        unwatch: Callable[[Entry], None],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._later = later
        self._listener = listener
        self._adopt = adopt
        self._watch = watch
        self._unwatch = unwatch

    def listen(self, call: Notification, process: Process, entry: Entry) -> None:
        """listen(descriptor, backlog)."""
        backlog = max(0, min(call.arguments[1] & 0xFFFFFFFF, socket.SOMAXCONN))

        def answered(reply: Reply | None) -> None:
            code = errno.ENOTCONN if reply is None else reply.errno
            entry.listens = entry.listens or not code
            self._listener.answer(call.id, error=code)

        with _copy(call, process, entry) as application:
            if entry.queue is None:
                entry.queue = select.epoll()
                entry.queue.register(application, select.EPOLLIN)
            entry.ask(lambda number: Listen(number, backlog), answered, [application.fileno()])

    def accept(self, call: Notification, process: Process, entry: Entry, flags: int) -> None:
        """accept(descriptor, address, length), accept4 with flags."""
        if not entry.listens:
            self._listener.let_pass(call.id)  # the kernel knows the errno
            return
        if flags & ~_FLAGS:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        if entry.channel is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        waiting = Accept(call, process, flags)
        if entry.accepts:
            self.peers_are_there(entry)
        with _copy(call, process, entry) as listener:
            if not entry.accepts and self._serve(entry, waiting, listener):
                return
            if fcntl.fcntl(listener, fcntl.F_GETFL) & os.O_NONBLOCK:
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            limit_s = _receive_timeout_s(listener)
        entry.accepts.append(waiting)
        self._watch(entry)
        if limit_s:
            self._later(limit_s, lambda: self._give_up(entry, waiting))

    def _give_up(self, entry: Entry, waiting: Accept) -> None:
        """The time-out that the application set has passed (SO_RCVTIMEO, socket(7))."""
        if waiting in entry.accepts:
            entry.accepts.remove(waiting)
            self._listener.answer(waiting.call.id, error=errno.EAGAIN)

    def peers_are_there(self, entry: Entry) -> None:
        """The listener is readable: serve those who wait."""
        while entry.accepts:
            if not self._listener.is_waiting(entry.accepts[0].call.id):
                entry.accepts.pop(0)  # interrupted; it is called again when the application wants to
            elif self._serve_later(entry, entry.accepts[0]):
                entry.accepts.pop(0)
            else:
                return
        self._unwatch(entry)

    def daemon_is_gone(self, entry: Entry, listener: socket.socket | None) -> None:
        """No peer will come any more: whoever waits, or polls ``listener``, must hear of it."""
        for waiting in entry.accepts:
            self._listener.answer(waiting.call.id, error=errno.ENOTCONN)
        entry.accepts.clear()
        self._unwatch(entry)
        if listener is not None:
            with listener:
                listener.shutdown(socket.SHUT_RDWR)

    def _serve_later(self, entry: Entry, waiting: Accept) -> bool:
        try:
            with _copy(waiting.call, waiting.process, entry) as listener:
                return self._serve(entry, waiting, listener)
        except OSError as error:  # another thread has closed the descriptor meanwhile
            self._listener.answer(waiting.call.id, error=error.errno or errno.EBADF)
            return True

    def _serve(self, entry: Entry, waiting: Accept, listener: socket.socket) -> bool:
        """Give the caller a peer; False when there is none."""
        call = waiting.call
        room = None
        try:
            if call.arguments[1]:
                room = _INT.unpack(waiting.process.read(call.arguments[2], _INT.size))[0]
                if room < 0:
                    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        except OSError as error:
            self._listener.answer(call.id, error=error.errno or errno.EFAULT)
            return True
        if (peer := self._next_peer(entry, listener)) is None:
            return False
        self._give(entry, waiting, peer, room)
        return True

    def _next_peer(self, entry: Entry, listener: socket.socket) -> Peer | None:
        if entry.peers:
            return entry.peers.pop(0)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while poll.poll(0):
            try:
                connection, _ = listener.accept()
            except OSError:
                return None
            try:
                connection.setblocking(True)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _GREETING_TIMEOUT)
                address, channel = take_greeting(connection)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _FOREVER)
            except (OSError, MalformedMessage):
                connection.close()  # the daemon ended between connecting and greeting
            else:
                return Peer(connection, address, channel)
        return None

    def _give(self, entry: Entry, waiting: Accept, peer: Peer, room: int | None) -> None:
        """Give the peer to the caller; it stays the next one when the caller cannot have it."""
        call = waiting.call
        try:
            given = self._listener.is_waiting(call.id) and self._hand_over(waiting, peer, room)
        except OSError as error:  # a bad address, or no descriptor is left
            self._listener.answer(call.id, error=error.errno or errno.EFAULT)
            given = False
        if not given:
            entry.peers.insert(0, peer)
            return
        inode = os.fstat(peer.connection.fileno()).st_ino
        peer.connection.close()
        peer.channel.setblocking(False)
        self._adopt(Entry(peer.channel, inode, connected=True))

    def _hand_over(self, waiting: Accept, peer: Peer, room: int | None) -> bool:
        call = waiting.call
        if room is not None:
            waiting.process.write(call.arguments[1], peer.address[:room])
            waiting.process.write(call.arguments[2], _INT.pack(len(peer.address)))
        peer.connection.setblocking(not waiting.flags & socket.SOCK_NONBLOCK)
        flags = os.O_CLOEXEC if waiting.flags & socket.SOCK_CLOEXEC else 0
        return self._listener.give(call.id, peer.connection.fileno(), flags)


@contextlib.contextmanager
def _copy(call: Notification, process: Process, entry: Entry) -> Iterator[socket.socket]:
    """The application's listener, for a moment.  OSError(EBADF) when the descriptor means another file by now."""
    with process.take_socket(call.arguments[0] & 0xFFFFFFFF) as taken:
        if os.fstat(taken.fileno()).st_ino != entry.inode:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        yield taken


def _receive_timeout_s(listener: socket.socket) -> float:
    """Return the time-out that the application set on its listener, 0 for none."""
    seconds, microseconds = _TIMEVAL.unpack(listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEVAL.size))
    return float(seconds + microseconds / 1e6)
