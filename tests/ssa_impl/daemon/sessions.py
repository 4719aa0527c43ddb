"""A session in this process: the test plays the boundary, the application, and the peer."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import trio.testing

from ssa_impl.abi import IPPROTO_TLS, Opt
from ssa_impl.control import channel
from ssa_impl.control.daemon_channel import DaemonChannel
from ssa_impl.control.messages import Connect, Hello, Keep, Message, Reply, Reset, SetOption
from ssa_impl.daemon.inner import InnerListener
from ssa_impl.daemon.services import Services
from ssa_impl.daemon.session import Session
from ssa_impl.policy.model import Policy
from ssa_impl.sockets.addresses import build_sockaddr
from tests.certificates import NAME, authority
from tests.ssa_impl.daemon.lines import receive, send_all
from tests.ssa_impl.tls.peers import MemoryPeer

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

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        self.connection = connection
        self.tls = MemoryPeer(context)

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

    async def hear(self, size: int) -> bytes:
        """Read ``size`` bytes of plain text, fewer at the end."""
        data = self.tls.read()
        while len(data) < size and not self.tls.closed:
            await self.take()
            data += self.tls.read()
        return data


class _ClosingOnFailure:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._connection.close()


class Booth:
    """The boundary and the application in front of one session."""

    def __init__(self, services: Services) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.prepare(self._channel)
        self._theirs = DaemonChannel(theirs)
        self.session = Session(services, os.getuid())
        self.application = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.ended = trio.Event()
        self._replies: dict[int, Reply] = {}
        self._number = 0
        self._kept: int | None = None

    async def run(self) -> None:
        """Serve, and say when it is over."""
        await self.session.serve(self._theirs)
        self.ended.set()

    # -- the boundary

    def post(self, make: Callable[[int], Message], descriptors: Iterable[int] = ()) -> int:
        """Send a request without waiting; return its number."""
        self._number += 1
        channel.send(self._channel, make(self._number), descriptors)
        return self._number

    async def reply_to(self, number: int) -> Reply:
        """Wait for the reply to one request; reset the application's socket when asked to, as a boundary does."""
        while number not in self._replies:
            await trio.lowlevel.wait_readable(self._channel)
            received = channel.receive(self._channel)
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
            self.application.send(b"\0", socket.MSG_DONTWAIT)
            self._let_go()
            channel.send(self._channel, Reply(message.request, 0))
        else:
            assert isinstance(message, Reply)
            self._replies[message.request] = message

    async def ask(self, make: Callable[[int], Message], descriptors: Iterable[int] = ()) -> Reply:
        """Send a request and wait for its reply."""
        return await self.reply_to(self.post(make, descriptors))

    async def listen_for_reset(self) -> None:
        """Do as the boundary does while nobody asks anything."""
        await trio.lowlevel.wait_readable(self._channel)
        if received := channel.receive(self._channel):
            self._note(*received)

    def hang_up(self) -> None:
        """Close the channel, as the boundary does when nobody has the socket open any more."""
        self._channel.close()
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

    def close(self) -> None:
        """Close whatever is still open."""
        self.application.close()
        self.hang_up()


Scene = Callable[[Booth, Peer], Coroutine[Any, Any, None]]


@asynccontextmanager
async def _booth(policy: Policy, listener: InnerListener, directory: Path) -> AsyncIterator[Booth]:
    async with trio.open_nursery() as nursery:
        dispatch, parents = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        services = Services(policy, 0, 1, directory, listener, dispatch, nursery.start_soon)
        booth = Booth(services)
        try:
            nursery.start_soon(booth.run)
            yield booth
            booth.close()
            with trio.fail_after(200):  # of the test's own time: every session ends once nobody is there
                await booth.ended.wait()
        finally:
            booth.close()
            dispatch.close()
            parents.close()


def play(scene: Scene, *, policy: Policy = Policy(), context: ssl.SSLContext | None = None) -> None:  # noqa: B008
    """Run one scene with a fresh session and a fresh peer; whatever the session held must be released at its end."""

    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            listener, peer = InnerListener(Path(directory) / "inner"), Peer(context)
            try:
                with trio.fail_after(1_000_000):
                    async with _booth(policy, listener, Path(directory)) as booth:
                        await scene(booth, peer)
            finally:
                peer.close()
                listener.close()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.5))
