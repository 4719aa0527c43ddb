"""What a worker does with what arrives on its dispatch socket, from the parent or from another worker."""

from __future__ import annotations

import errno
import os
import socket
import struct

from ..abi import IPPROTO_TLS
from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Claim, Reply, SetOption
from ..errors import SsaError
from . import governing
from .accepting import take_peer, take_peers_for_another
from .mail import Post
from .outer import Outer
from .relocation import Transcript, read
from .services import Services
from .session import Session

_CLAIM = struct.Struct("<II")  # request, workers asked
_UCRED = struct.Struct("iII")


def deliver(services: Services, data: bytes, descriptors: list[int]) -> None:
    """Start what a message asks for."""
    match Post(data[:1]):
        case Post.CHANNEL:
            services.start(_open, services, _channel(descriptors[0]))
        case Post.MOVED:
            services.start(_go_on, services, descriptors)
        case Post.LISTENER:
            take_peers_for_another(services, descriptors)
        case Post.PEER:
            take_peer(services, data[1:].decode(), socket.socket(fileno=descriptors[0]))
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
        case Post.CLAIM:
            services.start(_claim, services, _channel(descriptors[0]), descriptors[1], *_CLAIM.unpack(data[1:]))


async def _open(services: Services, end: socket.socket) -> None:
    """Serve a channel: the first message says whether it is for a new socket or for one that exists."""
    channel = DaemonChannel(end)
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
    await Session(services, _uid(end)).serve(channel, (message, descriptors))


async def _claim(services: Services, end: socket.socket, application: int, request: int, asked: int) -> None:
    """Find the socket behind the application's descriptor here, or ask the next worker."""
    try:
        session = services.by_inode.get(os.fstat(application).st_ino)
        if session is not None and session.uid == _uid(end):
            channel = DaemonChannel(end)
            await channel.send(Reply(request, 0))
            session.attach(channel)
            return
        if asked + 1 < services.worker_count:
            following = (services.index + 1) % services.worker_count
            await services.post(following, Post.CLAIM, _CLAIM.pack(request, asked + 1), [end.fileno(), application])
            end.close()
            return
        channel = DaemonChannel(end)
        await channel.send(Reply(request, errno.ENOTSOCK))
        channel.close()
    finally:
        os.close(application)


async def _go_on(services: Services, descriptors: list[int]) -> None:
    """Serve a socket that another worker began: it joins a context of ours."""
    file, end, wire = descriptors
    transcript = read(file)
    os.close(file)
    channel = DaemonChannel(_channel(end))
    outer = Outer(transcript.family, socket.socket(fileno=wire))
    try:
        session = await _remade(services, transcript, outer)
    except SsaError as error:
        await channel.send(Reply(transcript.request, error.errno))
        channel.close()
        outer.socket.close()
        return
    level, name, value = transcript.options[-1]
    assert level == IPPROTO_TLS
    await session.serve(channel, (SetOption(transcript.request, level, name, value), []))


async def _remade(services: Services, transcript: Transcript, outer: Outer) -> Session:
    """Return the same socket in this worker; the last of its options is still to be set.  Raises SsaError."""
    session = Session(services, transcript.uid)
    session.adopt(outer)
    session.be_known(transcript)
    await services.keys.prepare(session.profile.name, transcript.options)
    session.replay(transcript.options[:-1])
    session.be_found_by(transcript.inode)
    return session


def _channel(descriptor: int) -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor)


def _uid(end: socket.socket) -> int:
    uid: int = _UCRED.unpack(end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))[1]
    return uid
