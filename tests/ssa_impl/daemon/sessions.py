"""A session in this process: the test plays the boundary, the application, the peer, and the daemon's other processes.

:class:`Side` is what one secure socket has outside of the daemon: its channel, and the application's descriptor.
:class:`Booth` is a side whose session the test can see, :class:`Accepted` one that a listener took in.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import socket
import ssl
import struct
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import trio
import trio.testing

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control import channel
from ssa_impl.control.channel import close_all, receive_bytes
from ssa_impl.control.daemon_channel import DaemonChannel
from ssa_impl.control.greeting import take_greeting
from ssa_impl.control.messages import Connect, GetName, GetOption, Hello, Keep, Listen, Message, Reply, Reset, SetOption
from ssa_impl.daemon import identity
from ssa_impl.daemon.inner import InnerListener
from ssa_impl.daemon.mail import MAX_POST_BYTES, MAX_POST_DESCRIPTORS, PARENT, RETIRED, Post, split_forward
from ssa_impl.daemon.post import deliver
from ssa_impl.daemon.resumption import serve as serve_sessions
from ssa_impl.daemon.services import Services
from ssa_impl.daemon.session import Session
from ssa_impl.policy.model import Profile
from ssa_impl.policy.policy import Policy
from ssa_impl.sockets.addresses import Address, build_sockaddr, parse_sockaddr
from ssa_impl.tls.sessions import SessionCache
from tests.certificates import NAME, authority
from tests.ssa_impl.daemon.lines import receive, send_all
from tests.ssa_impl.tls.peers import MemoryClient, MemoryPeer

NUMBER = 1
"""TLS_ID of the first socket of the first worker"""


class Peer:
    """A TLS server on a loopback port that serves one connection after the other, on the test's word."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._context = context
        self.address = self._listener.getsockname()
        self.sockaddr = build_sockaddr(socket.AF_INET, self.address)

    async def accept(self) -> socket.socket:
        """Take a TCP connection."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._listener)
            else:
                connection.setblocking(False)
                return connection

    async def shake_hands(self) -> Visitor:
        """Take a TCP connection and complete the handshake.  Raises ssl.SSLError when the client refuses."""
        visitor = Visitor(await self.accept(), self._context)
        with visitor.closing_on_failure():
            while not visitor.tls.ready:
                await visitor.take()
            await visitor.send_out()
        return visitor

    def close(self) -> None:
        """Listen no more: who connects is refused."""
        self._listener.close()


class Visitor:
    """One connection at the peer."""

    def __init__(
        self, connection: socket.socket, context: ssl.SSLContext | None, tls: MemoryPeer | None = None
    ) -> None:
        self.connection = connection
        self.tls = tls or MemoryPeer(context)

    def closing_on_failure(self) -> _ClosingOnFailure:
        return _ClosingOnFailure(self.connection)

    async def take(self) -> None:
        """Take what arrives next."""
        ciphertext = await receive(self.connection)
        if not ciphertext:
            raise EOFError
        self.tls.receive(ciphertext)
        await self.send_out()

    async def send_out(self) -> None:
        await send_all(self.connection, self.tls.output())

    async def say(self, data: bytes) -> None:
        self.tls.write(data)
        await self.send_out()

    async def bid_farewell(self) -> None:
        self.tls.close()
        await self.send_out()

    async def shake_hands(self) -> None:
        """Complete the handshake.  Raises ssl.SSLError, and EOFError when the other side has gone."""
        await self.send_out()
        while not self.tls.ready:
            await self.take()

    async def hear(self, size: int) -> bytes:
        """Read ``size`` bytes of plain text, fewer at the end."""
        data = self.tls.read()
        while len(data) < size and not self.tls.closed:
            await self.take()
            data += self.tls.read()
        return data


async def dial(address: Address, source: str = "127.0.0.1") -> socket.socket:
    """Connect to a server, and say nothing."""
    connection = socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET)
    connection.setblocking(False)
    if len(address) == 2:
        connection.bind((source, 0))
    if connection.connect_ex(address) == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(connection)
    return connection


async def call(address: Address, context: ssl.SSLContext | None = None, name: str | None = NAME, **how: str) -> Visitor:
    """Connect to a server, and have a ClientHello ready to be sent."""
    return Visitor(await dial(address, **how), None, MemoryClient(context, name))


class _ClosingOnFailure:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._connection.close()


class Side:
    """The boundary and the application in front of one session."""

    def __init__(self, end: socket.socket, application: socket.socket) -> None:
        channel.prepare(end)
        self.channel = end
        self.application = application
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self._kept: int | None = None
        self._was_reset = False

    # -- the boundary

    def post(self, make: Callable[[int], Message], descriptors: Iterable[int] = ()) -> int:
        """Send a request without waiting; return its number."""
        self._number += 1
        channel.send(self.channel, make(self._number), descriptors)
        return self._number

    async def reply_to(self, number: int) -> Reply:
        """Wait for the reply to one request; reset the application's socket when asked to, as a boundary does."""
        while number not in self._replies:
            await trio.lowlevel.wait_readable(self.channel)
            received = channel.receive(self.channel)
            if received is None:
                raise EOFError
            self._note(*received)
        return self._replies.pop(number)

    def _note(self, message: Message, descriptors: list[int]) -> None:
        if descriptors:
            assert isinstance(message, Keep | Reply)
            (self._kept,) = descriptors
        if isinstance(message, Keep):
            return
        if isinstance(message, Reset):
            self._was_reset = True
            self.application.send(b"\0", socket.MSG_DONTWAIT)
            self._let_go()
            channel.send(self.channel, Reply(message.request, 0))
        else:
            assert isinstance(message, Reply)
            self._replies[message.request] = message

    async def ask(self, make: Callable[[int], Message], descriptors: Iterable[int] = ()) -> Reply:
        """Send a request and wait for its reply."""
        return await self.reply_to(self.post(make, descriptors))

    async def listen_for_reset(self) -> None:
        """Do as the boundary does while nobody asks anything."""
        await trio.lowlevel.wait_readable(self.channel)
        if received := channel.receive(self.channel):
            self._note(*received)

    async def be_reset(self) -> None:
        """Do so until the daemon has the connection reset."""
        while not self._was_reset:
            await self.listen_for_reset()

    def hang_up(self) -> None:
        """Close the channel, as the boundary does when nobody has the socket open any more."""
        self.channel.close()
        self._let_go()

    def _let_go(self) -> None:
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    # -- what an application does

    async def open(self, hostname: str | None = NAME) -> None:
        """socket(), the tests' anchors, and a name."""
        assert (await self.ask(lambda n: Hello(n, socket.AF_INET, 1))).errno == 0
        assert await self.set(Opt.TLS_TRUSTED_PEER_CERTIFICATES, authority().anchors_pem) == 0
        if hostname is not None:
            assert await self.set(Opt.TLS_REMOTE_HOSTNAME, hostname.encode() + b"\0") == 0

    async def set(self, option: int, value: bytes, level: int = IPPROTO_TLS) -> int:
        """setsockopt(); return its errno."""
        return (await self.ask(lambda n: SetOption(n, level, option, value))).errno

    def start_connect(self, sockaddr: bytes, *, blocking: bool = True) -> int:
        """Begin connect(); return the request's number."""
        self.application.setblocking(blocking)
        return self.post(lambda n: Connect(n, sockaddr, blocking), [self.application.fileno()])

    async def connect(self, sockaddr: bytes, *, blocking: bool = True) -> int:
        """connect(); return its errno."""
        return (await self.reply_to(self.start_connect(sockaddr, blocking=blocking))).errno

    async def listen(self, backlog: int = 8) -> int:
        """listen(); return its errno."""
        reply = await self.ask(lambda n: Listen(n, backlog), [self.application.fileno()])
        return reply.errno

    async def name(self, *, peer: bool = False) -> Address:
        """getsockname(), or getpeername()."""
        reply = await self.ask(lambda n: GetName(n, peer))
        assert reply.errno == 0
        family = struct.unpack_from("=H", reply.value)[0]
        return parse_sockaddr(family, reply.value)

    def has_peer(self) -> bool:
        """Whether the listening descriptor polls readable now."""
        return bool(select.select([self.application], [], [], 0)[0])

    async def accept(self) -> Accepted:
        """accept(), as a boundary does it."""
        await trio.lowlevel.wait_readable(self.application)
        connection, _ = self.application.accept()
        connection.setblocking(True)
        return Accepted(connection)

    def close(self) -> None:
        """Close whatever is still open."""
        self.application.close()
        self.hang_up()


class Accepted(Side):
    """What accept() gives."""

    def __init__(self, connection: socket.socket) -> None:
        self.sockaddr, end = take_greeting(connection)
        connection.setblocking(False)
        super().__init__(end, connection)


class Booth(Side):
    """A new secure socket, and the worker that serves it."""

    def __init__(self, worker: Worker) -> None:
        end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(end, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self._theirs = DaemonChannel(theirs)
        self.worker = worker
        self.session = Session(worker.services, os.getuid())
        self.ended = trio.Event()

    async def run(self) -> None:
        """Serve, and say when it is over."""
        await self.session.serve(self._theirs)
        self.ended.set()


class Worker:
    """One worker, and the parent that it writes to: the parent keeps TLS sessions, and everything else is ``mail``."""

    def __init__(
        self, profile: Profile, directory: Path, nursery: trio.Nursery, index: int = 0, worker_count: int = 1
    ) -> None:
        self._dispatch, self._parents = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._dispatch, self._parents):
            end.setblocking(False)
        self._listener = InnerListener(directory / f"inner-{index}")
        self.services = Services(
            Policy({"default": profile}),
            index,
            worker_count,
            directory,
            self._listener,
            self._dispatch,
            nursery.start_soon,
        )
        self._nursery = nursery
        self._sides: list[Side] = []
        self._open_mail, self.mail = trio.open_memory_channel[tuple[int, bytes, list[int]]](math.inf)
        self._sessions = SessionCache()
        nursery.start_soon(self._be_parent)

    async def _be_parent(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._parents)
            data, descriptors = receive_bytes(self._parents, MAX_POST_BYTES, MAX_POST_DESCRIPTORS)
            target, message = split_forward(data)
            if target == RETIRED:  # there are none: nobody knows the socket
                deliver(self.services, Post.UNKNOWN.value + message[1:], descriptors)
            elif target != PARENT or message[:1] == Post.ANSWER.value:
                self._open_mail.send_nowait((target, message, descriptors))
            elif message[:1] == Post.IDENTIFY.value:
                deliver(self.services, identity.answer(message[1:]), [])
            elif answer := serve_sessions(self._sessions, message, time.monotonic()):
                deliver(self.services, answer, [])

    def booth(self) -> Booth:
        """Open another secure socket."""
        made = Booth(self)
        self._sides.append(made)
        self._nursery.start_soon(made.run)
        return made

    def side(self) -> Side:
        """Open a channel whose first message says what it is for."""
        end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        made = Side(end, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        self._sides.append(made)
        deliver(self.services, Post.CHANNEL.value, [theirs.detach()])
        return made

    async def finish(self) -> None:
        """Close what the tests' side still has open, and wait until the sessions have ended."""
        for side in self._sides:
            side.close()
        with trio.fail_after(200):  # of the test's own time: every session ends once nobody is there
            for side in self._sides:
                if isinstance(side, Booth):
                    await side.ended.wait()

    def close(self) -> None:
        """Release everything."""
        for side in self._sides:
            side.close()
        while True:
            try:
                close_all(self.mail.receive_nowait()[2])
            except trio.WouldBlock:
                break
        self.services.ledger.close()
        for end in (self._dispatch, self._parents, self._listener):
            end.close()


Scene = Callable[[Booth, Peer], Coroutine[Any, Any, None]]


async def option(side: Side, number: int, level: int = IPPROTO_TLS, size: int = 1024) -> bytes:
    """getsockopt()."""
    reply = await side.ask(lambda n: GetOption(n, level, number, size))
    assert reply.errno == 0
    return reply.value


async def text(side: Side, number: int = Opt.TLS_ERROR) -> str:
    """getsockopt() of a string."""
    return (await option(side, number, size=65_536)).decode().rstrip("\0")


async def so_error(side: Side) -> int:
    """SO_ERROR."""
    code: int = struct.unpack("=i", await option(side, socket.SO_ERROR, socket.SOL_SOCKET))[0]
    return code


Main = Callable[[Path, trio.Nursery, contextlib.ExitStack], Coroutine[Any, Any, None]]


def run(main: Main) -> None:
    """Run under a clock that jumps over waiting; at the end all tasks are cancelled, then the stack is unwound."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack, trio.fail_after(1_000_000):
            async with trio.open_nursery() as nursery:
                await main(Path(directory), nursery, stack)
                nursery.cancel_scope.cancel()

    trio.run(whole, clock=trio.testing.MockClock(autojump_threshold=0.5))


def play(scene: Scene, *, profile: Profile = Profile(), context: ssl.SSLContext | None = None) -> None:  # noqa: B008
    """Run one scene with a fresh session and a fresh peer; whatever the session held must be released at its end."""

    async def main(directory: Path, nursery: trio.Nursery, stack: contextlib.ExitStack) -> None:
        worker, peer = Worker(profile, directory, nursery), Peer(context)
        stack.callback(worker.close)
        stack.callback(peer.close)
        await scene(worker.booth(), peer)
        await worker.finish()

    run(main)


def play_with_two(scene: Callable[[Worker, Worker], Coroutine[Any, Any, None]], profile: Profile = Profile()) -> None:  # noqa: B008
    """Run one scene with two workers of one daemon; what they write to each other is for the scene to deliver."""

    async def main(directory: Path, nursery: trio.Nursery, stack: contextlib.ExitStack) -> None:
        made = [Worker(profile, directory, nursery, index, 2) for index in range(2)]
        for worker in made:
            stack.callback(worker.close)
        await scene(*made)
        for worker in made:
            await worker.finish()

    run(main)
