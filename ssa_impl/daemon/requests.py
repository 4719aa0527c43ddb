"""What a channel asks of a secure socket, and the answer.

Most is done at once.  What has to wait for somebody else runs beside, so that the channel is heard meanwhile; who has
too much of that under way is heard no further until something is answered.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from ..abi import IPPROTO_TLS, Opt
from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..control.messages import (
    AskEnd,
    Bind,
    Connect,
    GetName,
    GetOption,
    Hello,
    Listen,
    Message,
    Refusal,
    Reply,
    SetByPath,
    SetOption,
    Upgrade,
)
from ..errors import ApplicationError, SsaError
from . import accepting, binding, connecting, naming, sharing
from .files import read_copy
from .inner import are_streams

if TYPE_CHECKING:
    from .session import Session

_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


async def take(session: Session, channel: DaemonChannel, message: Message, descriptors: list[int]) -> None:
    """Do what one message says, and answer it; ``descriptors`` came along, and are closed."""
    match message:
        case Reply():
            close_all(descriptors)
            session.reset_done.set()
        case Hello() if not session.is_open and session.services.tells_applications_apart:
            await channel.send(await _answer_stranger(session, message, descriptors))
        case Bind():
            close_all(descriptors)
            await binding.bind(session, channel, message)
        case Connect() if len(descriptors) == 1 and are_streams(descriptors, socket.AF_UNIX):
            await _beside(session, connecting.connect, channel, message, _unix(descriptors[0]))
        case Listen() if len(descriptors) == 1 and are_streams(descriptors, socket.AF_UNIX):
            await accepting.listen(session, channel, message, _unix(descriptors[0]))
        case Upgrade() if len(descriptors) == 3 - message.blocking and are_streams(descriptors, *_FAMILIES):
            await _beside(session, connecting.upgrade, channel, message, descriptors)
        case SetOption(_, level, Opt.TLS_CONTEXT) if level == IPPROTO_TLS and sharing.is_elsewhere(session, message):
            close_all(descriptors)
            await sharing.move(session, channel, message)
        case SetOption(_, level, Opt.TLS_CONTEXT) if level == IPPROTO_TLS:
            await sharing.have_ready(session, message)
            await channel.send(_answer(session, message, descriptors))
        case SetByPath():
            close_all(descriptors)
            await naming.set_named(session, channel, message)
        case SetOption() if naming.is_named(message):
            close_all(descriptors)
            await naming.set_named(session, channel, message)
        case _:
            await channel.send(_answer(session, message, descriptors))


async def _beside(session: Session, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    try:
        session.room_beside.acquire_nowait()
    except trio.WouldBlock:
        await session.room_beside.acquire()
    session.start(_leaving_room, session, work, *arguments)


async def _leaving_room(session: Session, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    try:
        await work(session, *arguments)
    finally:
        session.room_beside.release()


def _answer(session: Session, message: Message, descriptors: list[int]) -> Reply:
    try:
        with session.socket.remembering():
            return Reply(message.request, 0, _perform(session, message, descriptors))
    except SsaError as error:
        return Reply(message.request, error.errno)
    finally:
        close_all(descriptors)


async def _answer_stranger(session: Session, hello: Hello, descriptors: list[int]) -> Reply:
    """Find out who it is first."""
    session.pid = hello.pid
    try:
        with session.socket.remembering():
            await session.identify()
            session.govern()
    except SsaError as error:
        close_all(descriptors)
        return Reply(hello.request, error.errno)
    return _answer(session, hello, descriptors)


def _perform(session: Session, message: Message, descriptors: list[int]) -> bytes:
    if isinstance(message, Hello):
        session.open(message, descriptors)
        return b""
    session.outer()  # or there is no socket to ask
    match message:
        case SetOption(_, level, name, value, by_file):
            session.set_option(level, name, read_copy(descriptors) if by_file else value)
        case GetOption(_, level, name, size):
            return session.get_option(level, name, size)
        case GetName(_, peer):
            return session.name(peer)
        case AskEnd():
            if session.socket.end_errno:
                raise ApplicationError(session.socket.error_text, session.socket.end_errno)
        case Refusal(_, code, text):
            raise ApplicationError(text, code)
        case _:
            raise ApplicationError("the daemon does not know this request", errno.EOPNOTSUPP)
    return b""


def _unix(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, fileno=descriptor)
