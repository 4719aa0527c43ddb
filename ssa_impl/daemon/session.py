"""One secure socket in the daemon: it answers its channel's requests and carries its connection.

Requests are answered at once, except connect, which runs beside the others and answers when it knows.  While the
socket is not connected, the channel's end ends everything; once connected, the connection lives as long as any copy
of the application's descriptor does, in whatever process, with or without the boundary.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import struct

import trio

from ..abi import IPPROTO_TLS, Opt
from ..control.channel import close_all
from ..control.codec import MalformedMessage
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Bind, Connect, GetName, GetOption, Hello, Keep, Message, Refusal, Reply, Reset, SetOption
from ..errors import ApplicationError, NetworkError, PeerError, SsaError
from ..policy.contexts import context_for
from ..policy.model import Policy, Settings
from ..policy.resolve import resolve
from ..sockets.addresses import Address, build_sockaddr, parse_sockaddr
from ..sockets.secure_socket import SecureSocket
from ..sockets.states import Event, State
from ..tls.engine import Engine
from ..validation.hostname import check_name
from .files import read_regular
from .inner import InnerListener, drain, fill
from .outer import Outer
from .relay import Relay, Wire, say_why, shake_hands
from .waits import has_hung_up

_log = logging.getLogger("ssad")
_RESET_S = 2.0
"""how long the boundary may take to prepare a reset; without it, the application sees end of file"""
_INT = struct.Struct("=i")


class Session:
    """What the daemon holds for one secure socket."""

    def __init__(self, number: int, channel: DaemonChannel, policy: Policy, listener: InnerListener) -> None:
        self._channel = channel
        self._policy = policy
        self._listener = listener
        self._socket = SecureSocket(number, policy)
        self._outer: Outer | None = None
        self._names: dict[bool, Address] = {}
        self._reset_done = trio.Event()
        self._boundary_gone = trio.Event()

    async def serve(self) -> None:
        """Run until the socket is gone; whatever it held is released then."""
        try:
            async with trio.open_nursery() as nursery:
                await self._answer_requests(nursery)
                self._boundary_gone.set()
                if self._socket.state is not State.CONNECTED:
                    nursery.cancel_scope.cancel()
        finally:
            self._channel.close()
            if self._outer is not None:
                self._outer.socket.close()

    async def _answer_requests(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                received = await self._channel.receive()
            except MalformedMessage as malformed:
                _log.warning("closing a control channel: %s", malformed)
                return
            if received is None:
                return
            message, descriptors = received
            if isinstance(message, Reply):
                close_all(descriptors)
                self._reset_done.set()
                continue
            if isinstance(message, Connect) and len(descriptors) == 1:
                application = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptors[0])
                nursery.start_soon(self._connect, message, application, nursery.cancel_scope)
            else:
                await self._channel.send(self._answer(message, descriptors))

    def _answer(self, message: Message, descriptors: list[int]) -> Reply:
        try:
            with self._socket.remembering():
                return Reply(message.request, 0, self._perform(message, descriptors))
        except SsaError as error:
            return Reply(message.request, error.errno)
        finally:
            close_all(descriptors)

    def _perform(self, message: Message, descriptors: list[int]) -> bytes:
        if isinstance(message, Hello) and self._outer is None:
            if message.family not in {socket.AF_INET, socket.AF_INET6}:
                raise ApplicationError("secure sockets are of IPv4 or IPv6", errno.EAFNOSUPPORT)
            self._outer = Outer(message.family)
            return b""
        outer = self._outer_socket()
        match message:
            case SetOption(_, level, name, value, by_file):
                self._set_option(level, name, read_regular(descriptors) if by_file else value)
                return b""
            case GetOption(_, level, name, size):
                return self._get_option(level, name, size)
            case Bind(_, address):
                self._socket.happen(Event.BIND)
                outer.bind(parse_sockaddr(outer.family, address))
                return b""
            case GetName(_, peer):
                return self._name(outer, peer)
            case Refusal(_, code, text):
                raise ApplicationError(text, code)
        raise ApplicationError("the daemon does not know this request", errno.EOPNOTSUPP)

    def _outer_socket(self) -> Outer:
        if self._outer is None:
            raise ApplicationError("no socket was opened on this channel", errno.ENOTCONN)
        return self._outer

    # -- options and names

    def _set_option(self, level: int, name: int, value: bytes) -> None:
        if level != IPPROTO_TLS:
            self._outer_socket().set_option(level, name, value)
            return
        self._socket.set_option(name, value)
        if name == Opt.TLS_TRUSTED_PEER_CERTIFICATES:
            self._check_anchors()

    def _check_anchors(self) -> None:
        """Make the context now: a bad file is this call's error, and connect need not wait for it."""
        try:
            context_for(resolve(self._policy, self._socket.request(hostname="unset")))
        except SsaError:
            self._socket.forget(Opt.TLS_TRUSTED_PEER_CERTIFICATES)
            raise

    def _get_option(self, level: int, name: int, size_bytes: int) -> bytes:
        if level == IPPROTO_TLS:
            return self._socket.get_option(name)
        if level == socket.SOL_SOCKET and name == socket.SO_ERROR:
            return _INT.pack(self._socket.take_pending_errno())
        if level == socket.SOL_SOCKET and name == socket.SO_PROTOCOL:
            return _INT.pack(IPPROTO_TLS)
        return self._outer_socket().get_option(level, name, size_bytes)

    def _name(self, outer: Outer, peer: bool) -> bytes:
        if peer and self._socket.state is not State.CONNECTED:
            raise ApplicationError("the socket is not connected", errno.ENOTCONN)
        return build_sockaddr(outer.family, self._names.get(peer) or outer.name(peer))

    # -- connect

    async def _connect(self, message: Connect, application: socket.socket, session: trio.CancelScope) -> None:
        with application:
            try:
                with self._socket.remembering():
                    address, settings = self._begin(message)
            except SsaError as error:  # nothing has changed, not even a connect that is under way
                await self._channel.send(Reply(message.request, error.errno))
                return
            connect = self._connect_now if message.blocking else self._connect_in_background
            if await connect(message.request, application, address, settings):
                session.cancel()

    async def _connect_now(
        self, request: int, application: socket.socket, address: Address, settings: Settings
    ) -> bool:
        """The caller waits; return whether there was a connection, when it is over."""
        try:
            with self._socket.remembering():
                engine, wire = await self._establish(address, settings)
                inner = self._listener.tie(application)
        except SsaError as error:
            self._fail(error)
            await self._channel.send(Reply(request, error.errno))
            return False
        application.close()
        with inner:
            self._succeed(engine)
            await self._channel.send(Reply(request, 0), [inner.fileno()])
            await self._carry(inner, wire, engine)
        return True

    async def _connect_in_background(
        self, request: int, application: socket.socket, address: Address, settings: Settings
    ) -> bool:
        """The caller polls; return whether there was a connection, when it is over."""
        try:
            inner = self._listener.tie(application)
        except SsaError as error:
            self._fail(error)
            await self._channel.send(Reply(request, error.errno))
            return False
        with inner:
            filled = fill(application)
            application.close()
            await self._channel.send(Reply(request, errno.EINPROGRESS))
            try:
                with self._socket.remembering():
                    engine, wire = await self._establish(address, settings)
            except SsaError as error:
                self._fail(error)
                return False
            self._succeed(engine)
            await self._channel.send(Keep(), [inner.fileno()])
            await drain(inner, filled)
            await self._carry(inner, wire, engine)
        return True

    def _begin(self, message: Connect) -> tuple[Address, Settings]:
        outer = self._outer_socket()
        event = Event.CONNECT if message.blocking else Event.CONNECT_ASYNC
        self._socket.check(event)
        begun = parse_sockaddr(outer.family, message.address), resolve(self._policy, self._socket.request())
        self._socket.happen(event)
        return begun

    async def _establish(self, address: Address, settings: Settings) -> tuple[Engine, Wire]:
        """TCP, handshake, chain, name: returns only when all of them hold."""
        outer = self._outer_socket()
        engine = Engine(context_for(settings), settings)
        await outer.connect(address)
        wire = Wire(outer.socket, engine)
        try:
            with trio.fail_after(settings.handshake_timeout_s):
                await shake_hands(engine, wire)
        except trio.TooSlowError:
            raise PeerError(f"no handshake within {settings.handshake_timeout_s:g} s") from None
        if settings.hostname is not None:
            try:
                check_name(engine.connection, settings.hostname)
            except PeerError:
                engine.close()
                await say_why(wire)
                raise
        return engine, wire

    def _succeed(self, engine: Engine) -> None:
        outer = self._outer_socket()
        for peer in (False, True):
            with contextlib.suppress(SsaError):  # the peer may have gone already; then there is no name to keep
                self._names[peer] = outer.name(peer)
        self._socket.established(engine.negotiated())

    def _fail(self, error: SsaError) -> None:
        """The wire does not stay connected."""
        self._socket.broken(error)
        with contextlib.suppress(NetworkError):  # no descriptor is left: the next connect says so
            self._outer_socket().renew()

    async def _carry(self, inner: socket.socket, wire: Wire, engine: Engine) -> None:
        """Relay; return when nobody has the application's descriptor open any more."""
        relay = Relay(inner, wire, engine)
        try:
            await relay.run()
        except SsaError as error:
            self._fail(error)
            await self._reset(inner)
        if not relay.application_is_gone:
            await self._boundary_gone.wait()

    async def _reset(self, inner: socket.socket) -> None:
        """Close the application's connection so that its next end of file is ECONNRESET."""
        if not has_hung_up(inner) and not self._boundary_gone.is_set():
            await self._channel.send(Reset())
            with trio.move_on_after(_RESET_S):
                await self._reset_done.wait()
        inner.close()
