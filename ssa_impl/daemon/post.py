"""What a worker does with what arrives on its dispatch socket, from the parent or from another worker."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from ..abi import IPPROTO_TLS
from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Claim, Reply, SetOption
from ..errors import SsaError
from . import governing, rejudging, sharing
from .accepting import take_peer, take_peers_for_another
from .inner import inode_of, peer_uid
from .mail import RETIRED, Post
from .outer import Outer
from .relocation import Transcript, read
from .services import Services
from .session import Session

_SILENT_CHANNELS = 256
"""of one user in one worker"""
_CLAIM = struct.Struct("<II")  # request, workers asked
_INDEX = struct.Struct("<H")


def deliver(services: Services, data: bytes, descriptors: list[int]) -> None:
    """Start what a message asks for."""
    match Post(data[:1]):
        case Post.CHANNEL:
            _see_through(services, _open, _channel(descriptors[0]))
        case Post.TAKEN:
            services.sessions.taken(data[1:])
        case Post.KEEPER:
            services.keys.link(_channel(descriptors[0]))
        case Post.IDENTIFIED:
            services.identities.given(data[1:])
        case Post.POLICY:
            governing.receive(services, data[1:], descriptors[0])
        case Post.ASK:
            governing.hear(services, data[1:])
        case Post.NEWCOMER:
            services.start(governing.share_listeners, services, *_INDEX.unpack(data[1:]))
        case kind:
            _hear_another(services, kind, data[1:], descriptors)


def _hear_another(services: Services, kind: Post, body: bytes, descriptors: list[int]) -> None:
    """Start what another worker asks for."""
    match kind:
        case Post.MOVED:
            _see_through(services, _go_on, descriptors)
        case Post.LISTENER:
            take_peers_for_another(services, descriptors)
        case Post.PEER:
            take_peer(services, body.decode(), socket.socket(fileno=descriptors[0]))
        case Post.CONTEXTS:
            sharing.inherit_contexts(services, descriptors[0])
        case Post.EVIDENCE:
            services.start(rejudging.judge_for_another, services, descriptors)
        case Post.CLAIM:
            _see_through(services, _claim, _channel(descriptors[0]), descriptors[1], *_CLAIM.unpack(body))
        case Post.UNKNOWN:
            os.close(descriptors[1])
            services.start(_disappoint, _channel(descriptors[0]), _CLAIM.unpack(body)[0])


def _see_through(services: Services, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Do something that a worker which retires must not leave undone."""
    services.arriving += 1
    services.start(_to_the_end, services, work, arguments)


async def _to_the_end(services: Services, work: Callable[..., Awaitable[None]], arguments: tuple[object, ...]) -> None:
    try:
        await work(services, *arguments)
    finally:
        services.arriving -= 1
        services.look_whether_quiet()


async def _open(services: Services, end: socket.socket) -> None:
    """Serve a channel: the first message says whether it is for a new socket or for one that exists."""
    channel = DaemonChannel(end)
    first = None
    with services.silent_channels(peer_uid(end)).join(_SILENT_CHANNELS):
        first = await Session.next_message(channel)
    if first is None:
        channel.close()
        return
    message, descriptors = first
    if isinstance(message, Claim):
        if len(descriptors) == 1:
            await _claim(services, end, descriptors[0], message.request, 0)
            return
        close_all(descriptors)
        channel.close()
        return
    await Session(services, peer_uid(end)).serve(channel, (message, descriptors))


async def _claim(services: Services, end: socket.socket, application: int, request: int, asked: int) -> None:
    """Find the socket behind the application's descriptor here, or ask the next worker."""
    try:
        session = services.by_inode.get((peer_uid(end), inode_of(application)))
        if session is not None:
            await session.attach(DaemonChannel(end), request)
            return
        last = services.retiring is not None or asked + 1 >= services.worker_count
        following = RETIRED if last else (services.index + 1) % services.worker_count
        await services.post(following, Post.CLAIM, _CLAIM.pack(request, asked + 1), [end.fileno(), application])
        end.close()
    finally:
        os.close(application)


async def _disappoint(end: socket.socket, request: int) -> None:
    """No worker knows the socket behind a claim."""
    channel = DaemonChannel(end)
    await channel.send(Reply(request, errno.ENOTSOCK))
    channel.close()


async def _go_on(services: Services, descriptors: list[int]) -> None:
    """Serve a socket that another worker began: it joins a context of ours."""
    file, end, wire = descriptors
    transcript = read(file)
    os.close(file)
    channel = DaemonChannel(_channel(end))
    outer = Outer(transcript.family, socket.socket(fileno=wire))
    outer.recall_binding()
    try:
        session = await _remade(services, transcript, outer)
        session.count(checked=bool(transcript.request))
    except SsaError as error:
        await channel.send(Reply(transcript.request, error.errno))
        channel.close()
        outer.socket.close()
        return
    if not transcript.request:
        await session.serve(channel)
        return
    level, name, value = transcript.options[-1]
    assert level == IPPROTO_TLS
    await session.serve(channel, (SetOption(transcript.request, level, name, value), []))


async def _remade(services: Services, transcript: Transcript, outer: Outer) -> Session:
    """Return the same socket in this worker; the last of its options is still to be set.  Raises SsaError."""
    session = Session(services, transcript.uid)
    session.adopt(outer)
    session.be_known(transcript)
    try:
        await services.keys.prepare(session.profile.name, transcript.options)
        session.replay(transcript.options[:-1] if transcript.request else transcript.options)
    except SsaError as error:
        if transcript.request:
            raise
        session.excluded = error  # nobody waits for an answer now: connect and listen say so
    session.be_found_by(transcript.inode)
    return session


def _channel(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)
