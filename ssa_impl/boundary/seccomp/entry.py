"""What the supervisor keeps for one secure socket: its channel, the calls that wait on it, and one undelivered result.

A signal may interrupt a call while the daemon works on it; the notification is then dead, and the application either
makes the same call again or goes on to poll.  So a connect that was interrupted stays under way: the call that comes
next (connect again, or SO_ERROR) takes its place, and a result that nobody waited for is kept for it.  An option that
is set or read again is no second request: under a fast timer and with a slow daemon they would fill the channel.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

from ...control import channel as control
from ...control.codec import MalformedMessage
from ...control.messages import Keep, Message, Reply, Reset
from .notify import Notification
from .processes import Process

WhenAnswered = Callable[[Reply | None], None]
"""called with the reply, or with None when the daemon is gone"""


@dataclass
class PendingConnect:
    """A connect under way: who waits for it now, and how that caller is told its errno."""

    identity: int
    tell: Callable[[int], bool]
    sent: bool = False


@dataclass
class PendingBind:
    """A bind whose caller may have been interrupted: the same call, made again, is no second one."""

    identity: int
    address: bytes
    result: int | None = None


@dataclass(frozen=True)
class Accept:
    """A call that waits for a peer; what it wants to know is in the notification."""

    call: Notification
    process: Process
    flags: int


@dataclass(frozen=True)
class Peer:
    """An accepted connection, its greeting read."""

    connection: socket.socket
    address: bytes
    channel: socket.socket


@dataclass
class Entry:
    """One secure socket; ``channel`` is None once the daemon has hung up."""

    channel: socket.socket | None
    inode: int = 0
    connect: PendingConnect | None = None
    undelivered: int | None = None
    bind: PendingBind | None = None
    connected: bool = False
    kept: socket.socket | None = None  # the daemon's end of the connection (see control.messages.Keep)
    queue: select.epoll | None = None  # readable while a peer waits, once it listens
    listens: bool = False
    accepts: list[Accept] = field(default_factory=list)  # calls that wait for a peer, first come first
    peers: list[Peer] = field(default_factory=list)  # taken off the listener for calls that were interrupted
    replacement: socket.socket | None = None  # what takes a TCP socket's place when its upgrade succeeds
    reset_wanted: bool = False
    _waiting: dict[int, WhenAnswered] = field(default_factory=dict)
    _repeatable: dict[Hashable, WhenAnswered] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, make: Callable[[int], Message], answered: WhenAnswered, descriptors: Iterable[int] = ()) -> None:
        """Send a request; ``answered`` hears of it later, or at once when the daemon is gone."""
        number = next(self._numbers)
        try:
            if self.channel is None:
                raise ConnectionError
            control.send(self.channel, make(number), descriptors)
        except OSError:
            answered(None)
        else:
            self._waiting[number] = answered

    def ask_once(
        self, call: Hashable, make: Callable[[int], Message], answered: WhenAnswered, descriptors: Iterable[int] = ()
    ) -> None:
        """As :meth:`ask`; while the same ``call`` waits for its answer, which was interrupted, take its place."""

        def whoever_waits(reply: Reply | None) -> None:
            self._repeatable.pop(call)(reply)

        is_new = call not in self._repeatable
        self._repeatable[call] = answered
        if is_new:
            self.ask(make, whoever_waits, descriptors)

    def take_replies(self) -> bool:
        """Read what the daemon said; False when it has hung up, or when an answer made us do so."""
        while self.channel is not None:
            try:
                received = control.receive(self.channel)
            except BlockingIOError:
                return True
            except (OSError, MalformedMessage):
                received = None
            if received is None:
                self.hang_up()
                return False
            message, descriptors = received
            if isinstance(message, Keep | Reply) and len(descriptors) == 1:
                self.kept = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptors[0])
            else:
                control.close_all(descriptors)
            if isinstance(message, Reply) and (answered := self._waiting.pop(message.request, None)):
                answered(message)
            elif isinstance(message, Reset):
                self.reset_wanted = True
        return False

    def is_abandoned(self) -> bool:
        """Say whether the daemon is gone although the application still has its side of the connection."""
        if self.channel is not None or self.kept is None:
            return False
        poll = select.poll()
        poll.register(self.kept, 0)
        return not poll.poll(0)

    def let_go(self) -> None:
        """Close what is held: the daemon's end, what watches the listener, peers that nobody took."""
        for copy in (
            self.kept,
            self.queue,
            self.replacement,
            *(end for peer in self.peers for end in (peer.connection, peer.channel)),
        ):
            if copy is not None:
                copy.close()
        self.kept = self.queue = self.replacement = None
        self.peers.clear()

    def reset_done(self) -> None:
        """Close the copy of the daemon's end, and tell the daemon that it may close its own now."""
        self.reset_wanted = False
        self.let_go()
        if self.channel is not None:
            with contextlib.suppress(OSError):  # it has hung up: then nobody waits for this
                control.send(self.channel, Reply(0, 0))

    def hang_up(self) -> None:
        """Close the channel; whoever waits hears that the daemon is gone."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            answered(None)
