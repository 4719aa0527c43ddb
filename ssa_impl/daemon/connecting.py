"""The initiator's way to an established connection, and the upgrade of one that the application made itself.

The blocking way ties the application's socket at the very end, the other at the beginning (see ``inner``).
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..abi import IPPROTO_TLS, Opt
from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Connect, Keep, Reply, Upgrade
from ..errors import ApplicationError, HandshakeTimeoutError, NetworkError, PolicyError, SsaError
from ..policy.contexts import context_for
from ..policy.model import Role, Settings
from ..sockets.addresses import Address, parse_sockaddr, parse_sockaddr_host
from ..sockets.states import Event
from ..tls.engine import Engine
from ..tls.sessions import digest
from . import reporting
from .carriage import carry
from .inner import drain, fill, peer_uid
from .naming import have_ready
from .outer import Outer
from .relay import Wire, shake_hands
from .resolver import resolve_host
from .sharing import cache_scope
from .validating import validate

if TYPE_CHECKING:
    from .session import Session

_ATTEMPT_S = 5.0
"""how long one address may take while there is another to try"""


@dataclass(frozen=True)
class Established:
    """An authenticated connection; ``key`` is what its TLS session is kept under."""

    engine: Engine
    wire: Wire
    settings: Settings
    key: bytes = b""


Establish = Callable[[], Awaitable[Established]]


async def connect(session: Session, channel: DaemonChannel, message: Connect, application: socket.socket) -> None:
    """Serve connect(); end the session when there was a connection and it is over."""
    with application:
        try:
            with session.socket.remembering():
                await have_ready(session)
                establish = _begin(session, message)
        except SsaError as error:  # nothing has changed, not even a connect that is under way
            if isinstance(error, PolicyError):
                reporting.refused(session, error)
            await channel.send(Reply(message.request, error.errno))
            return
        if message.blocking:
            await _now(session, channel, message.request, establish, partial(_tie_and_close, session, application))
            return
        try:
            inner = session.services.inner.tie(application)
        except SsaError as error:
            session.fail(error)
            await channel.send(Reply(message.request, error.errno))
            return
        await _in_background(session, channel, message.request, establish, (inner, application))


def _tie_and_close(session: Session, application: socket.socket) -> socket.socket:
    """Tie, and keep no copy of the application's socket: its end of file would not be seen."""
    with application:
        return session.services.inner.tie(application)


async def upgrade(session: Session, channel: DaemonChannel, message: Upgrade, descriptors: list[int]) -> None:
    """Serve setsockopt(TCP_UPGRADE_TLS): the handshake runs on a connection that exists."""
    tcp, inner, *application = (socket.socket(fileno=descriptor) for descriptor in descriptors)
    try:
        with session.socket.remembering():
            _require_own(session, inner, *application)
            await have_ready(session)
            establish = _begin_upgrade(session, message, tcp)
    except SsaError as error:
        close_all(end.detach() for end in (tcp, inner, *application))
        await channel.send(Reply(message.request, error.errno))
        return
    with inner:
        inner.setblocking(False)
        if message.blocking:
            await _now(session, channel, message.request, establish, lambda: inner)
        else:
            await _in_background(session, channel, message.request, establish, (inner, application[0]))


async def _now(
    session: Session, channel: DaemonChannel, request: int, establish: Establish, tie: Callable[[], socket.socket]
) -> None:
    """The caller waits."""
    try:
        with session.socket.remembering():
            made = await establish()
            inner = tie()
    except SsaError as error:
        session.fail(error)
        await channel.send(Reply(request, error.errno))
        return
    with inner:
        session.succeed(made.engine, made.wire)
        await channel.send(Reply(request, 0), [inner.fileno()] if session.watched else [])
        await carry(session, inner, made.wire, made.engine, partial(_keep_session, session, made))
    session.end()


async def _in_background(
    session: Session,
    channel: DaemonChannel,
    request: int,
    establish: Establish,
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The caller polls; ``ends`` are the daemon's and the application's."""
    inner, application = ends
    with inner:
        try:
            with application, session.socket.remembering():
                filled = fill(application)
        except SsaError as error:
            session.fail(error)
            await channel.send(Reply(request, error.errno))
            return
        await channel.send(Reply(request, errno.EINPROGRESS))
        try:
            with session.socket.remembering():
                made = await establish()
        except SsaError as error:
            session.fail(error)
            return
        session.succeed(made.engine, made.wire)
        if session.watched:
            await channel.send(Keep(), [inner.fileno()])
        await drain(inner, filled)
        await carry(session, inner, made.wire, made.engine, partial(_keep_session, session, made))
    session.end()


def _keep_session(session: Session, made: Established) -> None:
    """Keep the TLS session for the next connection that may resume it."""
    ttl_s = made.settings.session_ttl_s
    if ttl_s and made.key and (kept := made.engine.session()) is not None:
        session.services.sessions.keep(made.key, kept, time.monotonic() + ttl_s)


def _begin(session: Session, message: Connect) -> Establish:
    outer = session.outer()
    event = Event.CONNECT if message.blocking else Event.CONNECT_ASYNC
    session.socket.check(event)
    host = parse_sockaddr_host(message.address)
    if host is not None:
        session.socket.default_hostname(host[0])
        find = partial(resolve_host, session.uid, *host)
    else:
        find = partial(_known, parse_sockaddr(outer.family, message.address))
    settings = session.settings(session.socket.request(), Role.INITIATOR)
    session.socket.happen(event)
    return partial(_reach, session, outer, find, settings)


async def _known(address: Address) -> list[tuple[int, Address]]:
    return [(0, address)]


async def _reach(
    session: Session, outer: Outer, find: Callable[[], Awaitable[list[tuple[int, Address]]]], settings: Settings
) -> Established:
    """TCP, handshake, chain, name: returns only when all of them hold."""
    context = context_for(settings)
    address = await _connect_to_one(outer, await find())
    key, earlier = b"", None
    if settings.session_ttl_s:
        key = digest(await cache_scope(session), address, settings)
        earlier = await session.services.sessions.take(key)
    engine = Engine(context, settings, earlier)
    wire = Wire(outer.socket, engine)
    await authenticate(engine, wire, settings)
    return Established(engine, wire, settings, key)


async def _connect_to_one(outer: Outer, addresses: list[tuple[int, Address]]) -> Address:
    """Connect to the first of the addresses that answers; raises NetworkError of the last one."""
    for family, address in addresses[:-1]:
        outer.use_family(family or outer.family)
        try:
            with trio.fail_after(_ATTEMPT_S):
                await outer.connect(address)
        except (NetworkError, trio.TooSlowError):
            outer.renew()
        else:
            return address
    family, address = addresses[-1]
    outer.use_family(family or outer.family)
    await outer.connect(address)
    return address


def _require_own(session: Session, *ends: socket.socket) -> None:
    """Write nothing to others' servers: they might take it for the daemon's own (SCM_CREDENTIALS, unix(7))."""
    if not all(end.family == socket.AF_UNIX and peer_uid(end) == session.uid for end in ends):
        raise ApplicationError("what takes the TCP socket's place is no socket pair of the application's")


def _begin_upgrade(session: Session, message: Upgrade, tcp: socket.socket) -> Establish:
    if tcp.family not in {socket.AF_INET, socket.AF_INET6} or tcp.type != socket.SOCK_STREAM:
        raise ApplicationError("only a TCP socket can be upgraded", errno.EOPNOTSUPP)
    try:
        tcp.getpeername()
    except OSError:
        raise ApplicationError("only a connected TCP socket can be upgraded", errno.ENOTCONN) from None
    session.socket.check(Event.CONNECT_ASYNC)
    if message.hostname.rstrip(b"\0"):
        session.set_option(IPPROTO_TLS, Opt.TLS_REMOTE_HOSTNAME, message.hostname)
    request = session.socket.request()
    settings = session.settings(request, Role.ACCEPTOR if request.hostname is None else Role.INITIATOR)
    context_for(settings)
    session.socket.happen(Event.CONNECT_ASYNC)
    tcp.setblocking(False)
    session.adopt(Outer(tcp.family, tcp))
    return partial(_go_on_in_tls, session, tcp, settings)


async def _go_on_in_tls(session: Session, tcp: socket.socket, settings: Settings) -> Established:
    staples = session.services.staples
    staples.hold(session, session.uid, settings)
    try:
        engine = Engine(context_for(settings), settings, staple=partial(staples.look_up, session))
        wire = Wire(tcp, engine)
        await authenticate(engine, wire, settings)
    finally:
        staples.release(session)
    return Established(engine, wire, settings)


async def authenticate(engine: Engine, wire: Wire, settings: Settings) -> None:
    """Handshake, chain, name, and what the policy's strategies say, in either role.  Raises PeerError, NetworkError."""
    try:
        with trio.fail_after(settings.handshake_timeout_s):
            await shake_hands(engine, wire)
    except trio.TooSlowError:
        raise HandshakeTimeoutError(f"no handshake within {settings.handshake_timeout_s:g} s") from None
    wire.votes = await validate(engine, settings)
    wire.handshake_s = time.monotonic() - wire.since_s
