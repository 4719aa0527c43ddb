"""TLS_CONTEXT: one socket takes over what another was told, and resumes its sessions.

A context's handle is the number of the socket that it was read from, so it says which worker knows it; a socket of
another worker moves there, which it can while it is nothing but a list of options (see ``relocation``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING

import trio

from ..abi import Opt
from ..control.daemon_channel import DaemonChannel
from ..control.messages import SetOption
from ..errors import ApplicationError, SsaError
from .handles import SharedContext
from .identity import to_fields
from .mail import Post
from .relocation import Transcript, read_contexts, write, write_contexts

if TYPE_CHECKING:
    from .services import Services
    from .session import Session


def offer(session: Session) -> None:
    """Somebody has read the handle of this socket's context: others may join it from now on."""
    if session.socket.context_is_own:
        session.shares_context = True
        session.services.handles.keep(session.socket.context, SharedContext(session.uid, tuple(session.options)))


def join(session: Session, value: bytes) -> None:
    """Hear everything that the other socket was told.  Raises ApplicationError(EINVAL), and what its options raise."""
    handle = session.socket.check_context(value)
    if (shared := session.services.handles.get(handle, session.uid)) is None:
        raise ApplicationError(f"no context of yours has the number {handle}")
    session.replay(shared.options)
    session.socket.set_option(Opt.TLS_CONTEXT, value)
    session.shares_context = True


async def have_ready(session: Session, request: SetOption) -> None:
    """Before a context is joined: hold the keys that its options name.  What fails, :func:`join` says."""
    with contextlib.suppress(SsaError):
        handle = session.socket.check_context(request.value)
        if (shared := session.services.handles.get(handle, session.uid)) is not None:
            await session.services.keys.prepare(session.profile.name, shared.options)


def is_elsewhere(session: Session, request: SetOption) -> bool:
    """Whether another worker knows the context that is to be joined."""
    with contextlib.suppress(SsaError):
        home = session.services.home_of(session.socket.check_context(request.value))
        return home is not None and home != session.services.index
    return False


async def move(session: Session, channel: DaemonChannel, request: SetOption) -> None:
    """Let the worker that knows the context go on with this socket, and answer."""
    home = session.services.home_of(session.socket.check_context(request.value))
    assert home is not None
    session.discount()
    file = write(transcript(session, request))
    try:
        descriptors = [file, channel.fileno(), session.outer().socket.fileno()]
        await session.services.post(home, Post.MOVED, b"", descriptors)
    finally:
        os.close(file)
    session.end()
    await trio.lowlevel.checkpoint()  # cancelled now: the channel's next message is for the new home


async def move_on(session: Session, channel: DaemonChannel) -> None:
    """Let the worker that succeeds this one go on with this socket."""
    session.discount()
    file = write(transcript(session))
    try:
        descriptors = [file, channel.fileno(), session.outer().socket.fileno()]
        await session.services.post(session.services.index, Post.MOVED, b"", descriptors)
    finally:
        os.close(file)
    session.end()
    await trio.lowlevel.checkpoint()  # cancelled now: the channel's next message is for the new home


async def bequeath_contexts(services: Services) -> None:
    """Let the worker that succeeds this one know what the handles stand for that were given out here."""
    contexts = {handle: (context.uid, context.options) for handle, context in services.handles}
    if not contexts:
        return
    file = write_contexts(contexts)
    try:
        await services.post(services.index, Post.CONTEXTS, b"", [file])
    finally:
        os.close(file)


def inherit_contexts(services: Services, file: int) -> None:
    """Know the handles that the worker before gave out."""
    try:
        for handle, (uid, options) in read_contexts(file).items():
            services.handles.keep(handle, SharedContext(uid, options))
    finally:
        os.close(file)


def transcript(session: Session, pending: SetOption | None = None, path: str = "") -> Transcript:
    """Return what another worker needs in order to make this socket; ``pending`` is still to be answered."""
    options = list(session.options)
    if pending is not None:
        options.append((pending.level, pending.name, pending.value))
    return Transcript(
        family=session.outer().family,
        pid=session.pid,
        watches=session.watched,
        uid=session.uid,
        inode=session.inode,
        options=tuple(options),
        path=path,
        request=pending.request if pending is not None else 0,
        application=to_fields(session.application) if session.application is not None else None,
    )


async def cache_scope(session: Session) -> Hashable:
    """Return who may resume the sessions of this socket: its context, or its user's processes (of one program)."""
    if session.shares_context:
        return "context", session.uid, session.socket.context
    if session.profile.session_scope == "user":
        return "user", session.uid
    try:
        return "program", session.uid, (await session.identify()).executable
    except SsaError:
        return "process", session.uid, session.pid
