"""One secure socket in the daemon: whose it is, what was set on it, how it begins and ends.

``requests`` answers for it, ``connecting``, ``accepting`` and ``carriage`` do what takes time; what they share of one
socket is this one class, and so it is long.

While the socket is not connected, the end of its last channel ends everything; once connected, the connection lives as
long as any copy of the application's descriptor does, in whatever process, with or without the boundary.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

import trio

from ..abi import IPPROTO_TLS, TCP_UPGRADE_TLS, Opt
from ..administration.metrics import Traffic
from ..control.codec import MalformedMessage
from ..control.daemon_channel import DaemonChannel
from ..control.messages import (
    Hello,
    Message,
    Reply,
)
from ..errors import ApplicationError, DaemonError, LimitError, NetworkError, SsaError
from ..policy.contexts import context_for
from ..policy.model import Identity, Profile, Request, Role, Settings
from ..policy.policy import Application
from ..policy.resolve import resolve
from ..sockets.addresses import Address, build_sockaddr
from ..sockets.secure_socket import SecureSocket
from ..sockets.states import State
from ..tls.engine import Engine
from . import reporting, requests, sharing
from .carriage import carry_accepted
from .identity import from_fields
from .inner import ApplicationListener, inode_of, is_open
from .outer import Outer
from .relay import Wire
from .relocation import Option, Options, Transcript
from .services import Services

_log = logging.getLogger("ssad")
_BESIDE = 16
"""connects and upgrades of one socket that are not answered yet, or carry its connection"""
_INT = struct.Struct("=i")
Heard = tuple[Message, list[int]]
"""a message, and the descriptors that came with it"""


class Session:
    """What the daemon holds for one secure socket; ``uid`` owns it."""

    def __init__(self, services: Services, uid: int, state: SecureSocket | None = None) -> None:
        self.services = services
        self.uid = uid
        self.application: Application | None = None
        """who opened it; None as long as that does not matter"""
        self.ungoverned = ""
        """why no profile can be found for it, "" when one was"""
        self.excluded: SsaError | None = None
        """what the policy in force has against an option that was set before"""
        self._pauses: dict[DaemonChannel, trio.CancelScope] = {}
        self.role: Role | None = None
        """once it is decided"""
        self.hostname = ""
        """the name that the peer must prove"""
        self.socket = state or SecureSocket(services.next_number(), services.profile_for(Application(0, uid)), self.key)
        self.counted_for: int | None = None
        """whose socket the ledger counts it as, None while it does not"""
        self.watched = True
        """whether the boundary reads its channel at all times"""
        self.options = Options()
        """all that was set, for another worker or another socket to hear again"""
        self.traffic = Traffic(self.profile.name)
        """what its connection has carried"""
        self.opened_at_s = time.time()
        """Unix time"""
        self.since_s = time.monotonic()
        self.pid = 0
        self.inode = 0
        self._outer: Outer | None = None
        self._names: dict[bool, Address] = {}
        self.queue: ApplicationListener | None = None
        """once it listens"""
        self.shares_context = False
        self.channels: list[DaemonChannel] = []
        self.reset_done = trio.Event()
        self.room_beside = trio.Semaphore(_BESIDE, max_value=_BESIDE)
        """for requests that take their time"""
        self.boundary_gone = trio.Event()
        self._nursery: trio.Nursery | None = None
        self.engine: Engine | None = None
        """of its connection, while that is open"""
        self.epoch = 0
        """under which of the worker's policies that was made, or allowed since"""
        self.votes: tuple[str, ...] = ()
        """how the policy's strategies voted on its peer, a line for each; () when none was asked"""
        self.carrying: trio.CancelScope | None = None
        self.verdict: SsaError | None = None
        """why the daemon ended the connection"""

    # -- under which profile

    @property
    def profile(self) -> Profile:
        """What applies to this socket."""
        return self.socket.profile

    def key(self, name: str) -> Identity:
        """Return what a name of the policy's keys stands for.  Raises PolicyError."""
        return self.services.keys.held(self.profile.name, name)

    async def identify(self) -> Application:
        """Find out who opened this socket, once.  Raises DaemonError(EACCES)."""
        if self.application is None:
            self.application = await self.services.identities.of(self.pid, self.uid)
        return self.application

    def govern(self) -> None:
        """Take the profile that the policy in force has for the application."""
        self.ungoverned = ""
        if self.application is not None:
            self.socket.profile = self.services.profile_for(self.application)
        elif not self.services.policy.rules:
            self.socket.profile = self.services.profile_for(Application(0, self.uid))
        else:
            self.ungoverned = "nobody can say any more which program opened this socket, and the policy has rules"
        self.traffic.profile = self.profile.name

    def be_known(self, transcript: Transcript) -> None:
        """Belong to whom another worker knows as the owner."""
        self.pid, self.watched = transcript.pid, transcript.watches
        if transcript.application is not None:
            self.application = from_fields(transcript.application)
        self.govern()

    def settings(self, request: Request, role: Role, *, established: bool = False) -> Settings:
        """Return the settings of a connection of this socket.  Raises PolicyError, DaemonError(EACCES)."""
        self.epoch = self.services.epoch
        if self.ungoverned:
            raise DaemonError(self.ungoverned, errno.EACCES)
        if self.excluded is not None:
            raise self.excluded
        self.role, self.hostname = role, "" if role is Role.ACCEPTOR else request.hostname or ""
        return resolve(self.profile, request, role, established=established)

    # -- life

    async def serve(self, channel: DaemonChannel, first: Heard | None = None) -> None:
        """Run until the socket is gone; whatever it held is released then.  ``first`` was heard already."""
        await self._live(channel, first, None)

    async def serve_accepted(self, channel: DaemonChannel, inner: socket.socket, wire: Wire, engine: Engine) -> None:
        """Run for a peer that a listener took in."""
        await self._live(channel, None, (inner, wire, engine))

    async def _live(
        self, channel: DaemonChannel, first: Heard | None, carried: tuple[socket.socket, Wire, Engine] | None
    ) -> None:
        self.count(checked=False)
        self.services.live.add(self)
        self.services.counts.opened(self.traffic)
        try:
            async with trio.open_nursery() as self._nursery:
                if carried is not None:
                    self._nursery.start_soon(carry_accepted, self, channel, *carried)
                await self._attend(channel, first)
        finally:
            self.discount()
            self.services.live.discard(self)
            self.services.counts.closed(self.traffic)
            self.services.look_whether_quiet()
            self.be_found_by(0)
            for attended in self.channels:
                attended.close()
            if self._outer is not None:
                self._outer.socket.close()

    def count(self, *, checked: bool) -> None:
        """Be one of the user's sockets, once.  Raises LimitError(ENOBUFS), where that is checked."""
        if self.counted_for is None:
            self.counted_for = self.uid
            self.services.ledger.enter(self.uid)
        if checked:
            try:
                self._check_room()
            except LimitError:
                self.discount()
                raise

    def discount(self) -> None:
        """Be counted no more."""
        if self.counted_for is not None:
            self.services.ledger.leave(self.counted_for)
            self.counted_for = None

    async def attach(self, channel: DaemonChannel, request: int) -> None:
        """Serve another process's channel too, which takes as much as a socket and is counted like one."""
        assert self._nursery is not None  # who is known by an inode has begun
        self.services.ledger.enter(self.uid)
        try:
            self._check_room()
        except LimitError as error:
            self.services.ledger.leave(self.uid)
            await channel.send(Reply(request, error.errno))
            channel.close()
            return
        await channel.send(Reply(request, 0))
        if self.boundary_gone.is_set():
            self.boundary_gone = trio.Event()
        self._nursery.start_soon(self._attend_another, channel)

    async def _attend_another(self, channel: DaemonChannel) -> None:
        try:
            await self._attend(channel, None)
        finally:
            self.services.ledger.leave(self.uid)

    async def _attend(self, channel: DaemonChannel, first: Heard | None) -> None:
        self.channels.append(channel)
        if first is not None:
            await requests.take(self, channel, *first)
        refused = first is not None and self._outer is None  # there is no socket, and nothing else to be said
        while not refused and (heard := await self._hear(channel)) is not None:
            await requests.take(self, channel, *heard)
        channel.close()
        self.channels.remove(channel)
        self._pauses.pop(channel, None)
        if not self.channels:
            self.boundary_gone.set()
            if not self._lives_alone and self._nursery is not None:
                self._nursery.cancel_scope.cancel()

    @property
    def _lives_alone(self) -> bool:
        """Whether the kernel says that the application still has its socket, though no channel does any more."""
        return self.socket.state is State.CONNECTED or (self.queue is not None and is_open(self.queue.path))

    async def _hear(self, channel: DaemonChannel) -> Heard | None:
        """Wait for a channel's next message; while nothing is connected, a worker that retires hands the socket on."""
        while True:
            if self.services.retiring is not None and self._can_move():
                await sharing.move_on(self, channel)
            with trio.CancelScope() as self._pauses[channel]:
                return await self.next_message(channel)

    def _can_move(self) -> bool:
        """Whether this socket is nothing but a list of options that one process alone can add to."""
        alone = len(self.channels) == 1 and not self.shares_context and self._outer is not None
        return alone and self.socket.state is State.OPEN and not self.socket.error_text

    def look_up(self) -> None:
        """Whatever this socket waits for: look first whether it is to move."""
        for pause in self._pauses.values():
            pause.cancel()

    @staticmethod
    async def next_message(channel: DaemonChannel) -> Heard | None:
        """Wait for a channel's next message; None when it has ended, or what came is no message."""
        try:
            return await channel.receive()
        except MalformedMessage as malformed:
            _log.warning("closing a control channel: %s", malformed)
            return None

    def cut(self, verdict: SsaError) -> bool:
        """End an open connection: the application reads ECONNRESET, TLS_ERROR says why.  False when there is none."""
        if self.engine is None or self.verdict is not None:
            return False
        self.verdict = verdict
        if self.carrying is not None:  # else it is about to be carried
            self.carrying.cancel()
        return True

    def start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run something beside, for as long as this socket lives."""
        assert self._nursery is not None  # whoever is asked has begun
        self._nursery.start_soon(work, *arguments)

    def end(self) -> None:
        """Let go of everything."""
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()

    # -- what it is

    def open(self, hello: Hello, descriptors: Sequence[int]) -> None:
        """Become a socket, or be claimed by the descriptor that came along."""
        if self._outer is None:
            if hello.family not in {socket.AF_INET, socket.AF_INET6}:
                raise ApplicationError("secure sockets are of IPv4 or IPv6", errno.EAFNOSUPPORT)
            if self.services.draining is not None:
                raise DaemonError("the daemon is about to end", errno.ENOTCONN)
            self._check_room()
            self._outer = Outer(hello.family)
            self.pid, self.watched = hello.pid, hello.watches
        elif not descriptors:
            raise ApplicationError("a socket was opened on this channel already", errno.EOPNOTSUPP)
        if descriptors:
            self.be_found_by(inode_of(descriptors[0]))

    @property
    def is_open(self) -> bool:
        """Whether Hello was said."""
        return self._outer is not None

    def _check_room(self) -> None:
        try:
            self.services.check_room(self.uid, self.profile)
        except LimitError as error:
            reporting.refused(self, error)
            raise

    def be_found_by(self, inode: int) -> None:
        """Let other processes of its user claim this socket by its descriptor's inode; 0: let nobody any more."""
        found = self.services.by_inode
        if found.get((self.uid, self.inode)) is self:
            del found[self.uid, self.inode]
        self.inode = inode
        if inode:
            found[self.uid, inode] = self

    def outer(self) -> Outer:
        """Return the wire's socket; ENOTCONN before Hello."""
        if self._outer is None:
            raise ApplicationError("no socket was opened on this channel", errno.ENOTCONN)
        return self._outer

    def adopt(self, outer: Outer) -> None:
        """Go on with another wire."""
        if self._outer is not None and self._outer.socket is not outer.socket:
            self._outer.socket.close()
        self._outer = outer

    # -- options and names

    def set_option(self, level: int, name: int, value: bytes) -> None:
        """Take one option of any level; raises SsaError."""
        if (level, name) == (socket.IPPROTO_TCP, TCP_UPGRADE_TLS):
            raise ApplicationError("this is a TLS socket already", errno.EOPNOTSUPP)
        self.options.require_room((level, name, value))
        if level != IPPROTO_TLS:
            self.outer().set_option(level, name, value)
        elif name == Opt.TLS_CONTEXT:
            sharing.join(self, value)
            return  # what it stands for has been noted
        else:
            self.socket.set_option(name, value)
            if name == Opt.TLS_TRUSTED_PEER_CERTIFICATES:
                self._check_anchors()
        self.options.add((level, name, value))

    def replay(self, options: Iterable[Option]) -> None:
        """Hear again what another socket was told; raises SsaError."""
        for option in options:
            self.set_option(*option)

    def _check_anchors(self) -> None:
        """Make a context now: a bad file is this call's error, and connect need not wait for it."""
        try:
            request = self.socket.request(hostname="unset", with_identities=False)
            context_for(resolve(self.profile, request))
        except SsaError:
            self.socket.forget(Opt.TLS_TRUSTED_PEER_CERTIFICATES)
            raise

    def get_option(self, level: int, name: int, size_bytes: int) -> bytes:
        """Return the value of an option of any level; raises SsaError."""
        if level == IPPROTO_TLS:
            value = self.socket.get_option(name)
            if name == Opt.TLS_CONTEXT:
                sharing.offer(self)
            return value
        if level == socket.SOL_SOCKET and name == socket.SO_ERROR:
            return _INT.pack(self.socket.take_pending_errno())
        if level == socket.SOL_SOCKET and name == socket.SO_PROTOCOL:
            return _INT.pack(IPPROTO_TLS)
        return self.outer().get_option(level, name, size_bytes)

    @property
    def is_busy(self) -> bool:
        """Whether there is a connection, or one is being made."""
        return self.socket.state in {State.CONNECTED, State.CONNECTING, State.CONNECTING_ASYNC}

    def peer_name(self) -> str:
        """Return the peer's address and port, "" where there is none."""
        name = self._names.get(True)
        return "" if name is None else reporting.name_of(name)

    def name(self, peer: bool) -> bytes:
        """Return this end's or the peer's sockaddr.  Raises ApplicationError(ENOTCONN), NetworkError."""
        outer = self.outer()
        if peer and self.socket.state is not State.CONNECTED:
            raise ApplicationError("the socket is not connected", errno.ENOTCONN)
        return build_sockaddr(outer.family, self._names.get(peer) or outer.name(peer))

    # -- an established connection

    def succeed(self, engine: Engine, wire: Wire) -> None:
        """Handshake and validation are over."""
        self.be_connected(engine, wire)
        self.remember_names()
        self.socket.established(engine.negotiated())
        reporting.connected(self, wire)

    def be_connected(self, engine: Engine, wire: Wire) -> None:
        """Have a connection, whose peer was believed."""
        self.engine, self.votes = engine, wire.votes

    def remember_names(self) -> None:
        """Keep both addresses: the kernel forgets them when the connection ends."""
        outer = self.outer()
        for peer in (False, True):
            with contextlib.suppress(SsaError):  # the peer may have gone already; then there is no name to keep
                self._names[peer] = outer.name(peer)

    def fail(self, error: SsaError) -> None:
        """The wire does not stay connected."""
        (reporting.broken if self.socket.state is State.CONNECTED else reporting.refused)(self, error)
        self.socket.broken(error)
        with contextlib.suppress(NetworkError):  # no descriptor is left: the next connect says so
            self.outer().renew()
        self.services.look_whether_quiet()
