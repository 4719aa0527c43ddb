"""The daemon's end of the administration socket (trio).

The socket is the daemon's user's alone (mode 0600), and whoever connects is asked for by the kernel (SO_PEERCRED):
root and the daemon's user may do everything; anybody else, where an administrator opened the socket to them, may list
secure sockets of their own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import trio

from .answers import Answer, Metrics
from .interface import SESSIONS_AT_MOST, Caller, Provider, Question, Refused
from .protocol import (
    MAX_REQUEST_BYTES,
    Command,
    MalformedLine,
    ReloadWanted,
    SessionsWanted,
    decode_command,
    encode_answer,
    encode_refusal,
)

_log = logging.getLogger("ssad")
_CALLERS = 16
_IDLE_S = 60.0
"""how long a caller may say nothing, or not read its answer"""
_PAUSE_S = 0.05


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at ``path`` for this user only; what stood there is replaced.  Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as listener:
        path.unlink(missing_ok=True)
        previous = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        listener.listen(64)
        ours = path.stat().st_ino
        try:
            yield listener
        finally:
            if path.exists() and path.stat().st_ino == ours:  # else it is already another daemon's
                path.unlink()


async def serve(listener: socket.socket, provider: Provider, daemon_uid: int) -> None:
    """Answer administrators until cancelled."""

    async def converse(stream: trio.SocketStream, caller: Caller) -> None:
        lines = _Lines(stream)
        while (line := await lines.next()) is not None:
            answer = await _answer(provider, daemon_uid, caller, line)
            with trio.fail_after(_IDLE_S):
                await stream.send_all(answer)
        if lines.too_long:
            await stream.send_all(encode_refusal(Refused(f"a request has at most {MAX_REQUEST_BYTES} bytes")))

    await take_callers(listener, converse)


async def take_callers(
    listener: socket.socket, converse: Callable[[trio.SocketStream, Caller], Awaitable[None]]
) -> None:
    """Serve each caller in a task of its own, a few at a time; one that says nothing for a minute is let go."""
    room = trio.Semaphore(_CALLERS)
    async with trio.open_nursery() as nursery:
        while True:
            await room.acquire()
            nursery.start_soon(_serve_one, await _accept(listener), room, converse)


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ECONNABORTED}:
                raise
            await trio.sleep(_PAUSE_S)
        else:
            return connection


async def _serve_one(
    connection: socket.socket, room: trio.Semaphore, converse: Callable[[trio.SocketStream, Caller], Awaitable[None]]
) -> None:
    try:
        with contextlib.suppress(OSError, trio.BrokenResourceError):
            caller = Caller.at(connection)
            async with trio.SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
                await converse(stream, caller)
    except trio.TooSlowError:
        return
    except Exception:
        _log.exception("a defect ended an administrator's connection; the daemon goes on")
    finally:
        connection.close()
        room.release()


class _Lines:
    """What a caller says, line by line, with bounded memory."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._pending = bytearray()
        self.too_long = False

    async def next(self) -> bytes | None:
        """Return the next line; None when the caller has ended, or said too much at once.  Raises TooSlowError."""
        while (end := self._pending.find(b"\n")) < 0:
            if len(self._pending) > MAX_REQUEST_BYTES:
                self.too_long = True
                return None
            with trio.fail_after(_IDLE_S):
                data = await self._stream.receive_some(MAX_REQUEST_BYTES)
            if not data:
                return None
            self._pending += data
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line


async def _answer(provider: Provider, daemon_uid: int, caller: Caller, line: bytes) -> bytes:
    try:
        command = decode_command(line)
        if not caller.administers(daemon_uid) and command.name != "sessions":
            raise Refused(f"only root and the user who runs the daemon may ask for {command.name}")
        return encode_answer(await _perform(provider, command, caller, everything=caller.administers(daemon_uid)))
    except MalformedLine as error:
        return encode_refusal(Refused(str(error)))
    except Refused as refusal:
        return encode_refusal(refusal)
    except Exception:
        _log.exception("a defect kept an administrator from an answer; the daemon goes on")
        return encode_refusal(Refused("a defect of the daemon kept it from answering; its log says more"))


async def _perform(provider: Provider, command: Command, caller: Caller, *, everything: bool) -> Answer:
    match command.name, command.parameters:
        case "status", _:
            return await provider.status()
        case "sessions", SessionsWanted(limit):
            return await provider.sessions(None if everything else caller.uid, min(limit, SESSIONS_AT_MOST))
        case "profiles", _:
            return await provider.profiles()
        case "explain", Question() as question:
            return await provider.explain(question, caller)
        case "reload", ReloadWanted(enforce):
            return await provider.reload(enforce=enforce)
        case "drain", _:
            return await provider.drain()
        case "metrics", _:
            return Metrics(await provider.metrics())
    raise Refused("the daemon does not know this command")
