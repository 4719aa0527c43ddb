"""Between the application and the peer: two pumps through one engine.

*down* carries the peer's bytes to the application, *up* the application's to the peer.  Neither reads before what it
read last has been handed to the kernel: that is the back-pressure, and it bounds the memory of a connection to one
buffer in each direction.  Ciphertext leaves in the order in which the engine made it (one lock).

How it ends: the application's end of file becomes close_notify, then FIN; the peer's close_notify becomes the
application's end of file.  Either side may go on sending after the other has ended.  When the application has closed
its descriptor altogether, nothing more is carried down, and what it had written is still delivered.
"""

from __future__ import annotations

import errno
import math
import socket
import time
from collections.abc import Awaitable, Callable

import trio

from ..administration.metrics import Traffic
from ..errors import NetworkError, SsaError
from ..tls.engine import Engine
from .waits import (
    Rest,
    Turn,
    has_hung_up,
    hung_up,
    receive_at_once,
    receive_into,
    send_all,
    send_now,
    send_rest,
    unacknowledged_bytes,
)

_WIRE_BYTES = 262_144
_PLAIN_BYTES = 131_072
_ANSWERS_BYTES = 65_536
_LINGER_S = 5.0
_LINGER_READS = 32
_LINGER_PAUSE_S = 0.01
"""how long, and how fast, we listen to a peer that nobody is left to hear: closing resets what it has not read yet"""
_STALL_S = 30.0
"""how long a peer may refuse to read before we look whether anybody is left to send for"""


MOST_BYTES = 5 << 18
"""What a connection takes at most of this process's memory, but for its context and its options.  The parts, in KiB:

down, what OpenSSL was fed and has not decrypted (a receive and the beginning of a record; its buffer has a third more
than it needs) 364, and what the application has not read 256; up, what OpenSSL has encrypted 176, and what the peer has
not read 132; answers that the peer has not read 64, and those to one more receive 64; and for OpenSSL's state, the
certificates and the tasks 224.  A handshake takes less: its messages have at most 128, and nothing goes up or down.
"""

_scratch = memoryview(bytearray(_WIRE_BYTES))
"""where a worker receives and decrypts; nothing in it outlives the synchronous step that filled it"""


class Wire:
    """The peer's side: ciphertext in, ciphertext out, in order."""

    def __init__(self, outer: socket.socket, engine: Engine) -> None:
        self.since_s = time.monotonic()
        self.handshake_s = 0.0
        """how long it took to authenticate the peer"""
        self.votes: tuple[str, ...] = ()
        """how the policy's strategies voted on the peer, a line for each; () when none was asked"""
        self._outer = outer
        self._engine = engine
        self._sending = Turn()
        self._answers = b""

    async def receive(self) -> None:
        """Feed the engine what arrived, or that the wire has ended.  Raises NetworkError."""
        try:
            await receive_into(self._outer, _scratch, self._feed)
        except OSError as error:
            raise NetworkError.from_os("receive", error) from None

    def _feed(self, ciphertext: memoryview) -> None:
        self._engine.receive(ciphertext or None)

    async def flush(self, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Send all that the engine has made.  Raises NetworkError; ETIMEDOUT when stalled and ``abandoned``."""
        await self._sending.take()
        try:
            while ciphertext := self._next_ciphertext():
                if (sent := send_now(self._outer, memoryview(ciphertext))) < len(ciphertext):
                    await self._send(memoryview(ciphertext)[sent:], abandoned)
        except OSError as error:
            raise NetworkError.from_os("send", error) from None
        finally:
            self._sending.give_up()

    def _next_ciphertext(self) -> bytes:
        answers, self._answers = self._answers, b""
        return answers or self._engine.output()

    async def flush_answers(self) -> None:
        """Send what receiving has provoked (a key update's answer) as far as the wire takes it now.

        The rest goes with what is sent next, so that hearing the peer never waits for sending to it.  But a peer that
        provokes answers and does not read them is heard no further: they would fill the memory.  Raises NetworkError.
        """
        self._answers += self._engine.output()
        if self._answers and not self._sending.taken:
            try:
                self._answers = self._answers[send_now(self._outer, memoryview(self._answers)) :]
            except OSError as error:
                raise NetworkError.from_os("send", error) from None
        if len(self._answers) > _ANSWERS_BYTES:
            await self.flush()

    async def end(self, abandoned: Callable[[], bool]) -> None:
        """Queue close_notify, send everything, then FIN."""
        self._engine.close()
        await self.flush(abandoned)
        try:
            self._outer.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the peer has reset the connection: there is no wire to end

    async def drain(self, hurried: float = math.inf, pause_s: float = 0) -> None:
        """Read the wire to its end and throw it away; after so many hurried reads with a pause after each."""
        try:
            while await receive_into(self._outer, _scratch, lambda ignored: None):
                hurried -= 1
                if hurried < 0:
                    await trio.sleep(pause_s)
        except OSError:
            return

    async def _send(self, ciphertext: memoryview, abandoned: Callable[[], bool]) -> None:
        rest = Rest(ciphertext)
        while rest.pending:
            waiting_bytes = unacknowledged_bytes(self._outer)
            with trio.move_on_after(_STALL_S):
                await send_rest(self._outer, rest)
            if rest.pending and unacknowledged_bytes(self._outer) == waiting_bytes and abandoned():
                raise NetworkError("the application is gone and the peer does not read", errno.ETIMEDOUT)


async def shake_hands(engine: Engine, wire: Wire) -> None:
    """Run the handshake.  Raises PeerError, NetworkError; an alert that explains a failure is sent all the same."""
    try:
        while not engine.handshake():
            await wire.flush()
            await wire.receive()
    except SsaError:
        await say_why(wire)
        raise
    await wire.flush()


async def say_why(wire: Wire) -> None:
    """Send a pending alert as far as the wire takes it."""
    with trio.move_on_after(_LINGER_S):
        try:
            await wire.flush()
        except NetworkError:
            return


class Relay:
    """One established connection's pumps; ``run`` returns when both directions have ended in order."""

    def __init__(
        self,
        inner: socket.socket,
        wire: Wire,
        engine: Engine,
        settled: Callable[[], None] = lambda: None,
        traffic: Traffic | None = None,
    ) -> None:
        """``settled`` is called once: when the peer's first bytes have come, or else at the end of both directions."""
        self._traffic = traffic or Traffic()
        self._settled = settled
        self._inner = inner
        self._wire = wire
        self._engine = engine
        self._failure: SsaError | None = None
        self._told_end = False
        self.application_is_gone = False
        """whether every copy of the application's descriptor is known to be closed"""
        self.has_ended = False
        """whether both sides have, in order"""

    async def run(self) -> None:
        """Carry bytes until both sides have ended.  Raises PeerError, TruncationError, NetworkError."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guarded, self._down, nursery.cancel_scope)
            await self._guarded(self._up, nursery.cancel_scope)
            nursery.cancel_scope.cancel()  # nobody is left to carry anything down to
        if self._failure is not None:
            await say_why(self._wire)
            raise self._failure
        self._settle()
        self.has_ended = True
        if not self._engine.peer_closed:  # closing now would reset what the peer has not read yet
            with trio.move_on_after(_LINGER_S):
                await self._wire.drain(_LINGER_READS, _LINGER_PAUSE_S)

    def _settle(self) -> None:
        settled, self._settled = self._settled, lambda: None
        settled()

    async def _guarded(self, pump: Callable[[], Awaitable[None]], both: trio.CancelScope) -> None:
        try:
            await pump()
        except SsaError as failure:
            self._failure = self._failure or failure
            both.cancel()

    async def _down(self) -> None:
        try:
            while True:
                while plaintext_bytes := self._engine.read_into(_scratch):
                    self._settle()
                    await send_all(self._inner, _scratch[:plaintext_bytes])
                    self._traffic.received_bytes += plaintext_bytes
                await self._wire.flush_answers()
                if self._engine.peer_closed:
                    break
                await self._wire.receive()
            self._told_end = True
            self._inner.shutdown(socket.SHUT_WR)
        except OSError:  # the application reads no more; keep the wire moving while it goes on writing
            await self._wire.drain()

    async def _up(self) -> None:
        while (received := await self._from_application())[0]:
            await self._wire.flush(self._is_abandoned)  # before the other pump could take this for an answer of its own
            if not received[1]:
                await trio.lowlevel.checkpoint()
        await self._wire.end(self._is_abandoned)
        await hung_up(self._inner)  # until then it may still read
        self.application_is_gone = not self._told_end  # with both sides shut down, a socket hangs up all the same

    def _is_abandoned(self) -> bool:
        return has_hung_up(self._inner)

    async def _from_application(self) -> tuple[int, bool]:
        try:
            return await receive_at_once(self._inner, _scratch[:_PLAIN_BYTES], self._encrypt)
        except OSError:  # it closed with unread data; whatever it had written was read before
            return 0, False

    def _encrypt(self, plaintext: memoryview) -> None:
        if plaintext:
            self._engine.write(plaintext)
            self._traffic.sent_bytes += len(plaintext)
