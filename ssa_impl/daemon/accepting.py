"""The acceptor's side: TCP peers in, authenticated secure sockets out.

Every worker takes peers from a listener's TCP socket; the one whose channel it is tells the others.  Each peer has a
task of its own for its handshake, so that a slow or hostile one delays nobody; when too many handshakes are under way,
the oldest gives way.  Only a peer that has been authenticated is put into the application's queue.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import zlib
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..abi import IPPROTO_TLS
from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Listen, Reply
from ..errors import ApplicationError, DaemonError, SsaError
from ..policy.contexts import context_for
from ..policy.model import Role, Settings
from ..sockets.addresses import Address, build_sockaddr
from ..sockets.secure_socket import SecureSocket
from ..sockets.states import Event, State
from ..tls.engine import Engine
from . import naming, reporting, sharing
from . import session as sessions
from .connecting import authenticate
from .crowd import Crowd
from .inner import ApplicationListener, inode_of, is_open, present
from .mail import ALL_OTHERS, Post
from .outer import Outer
from .relay import Wire
from .relocation import Option, Transcript, read, write
from .services import Services

if TYPE_CHECKING:
    from .session import Session

_log = logging.getLogger("ssad")
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.05


async def listen(session: Session, channel: DaemonChannel, message: Listen, application: socket.socket) -> None:
    """Serve listen(); a second one changes the length of the queue only, as with TCP."""
    with application:
        try:
            with session.socket.remembering():
                again = session.socket.state is State.LISTENING
                session.socket.check(Event.LISTEN)
                if again:
                    _set_backlog(session, application, message.backlog)
                else:
                    await naming.equip(session)
                    await _begin(session, message, application)
        except SsaError as error:
            await channel.send(Reply(message.request, error.errno))
        else:
            await channel.send(Reply(message.request, 0))


def _set_backlog(session: Session, application: socket.socket, backlog: int) -> None:
    if session.queue is None or inode_of(application.fileno()) != session.queue.inode:
        # who connects to it would take us for its owner: listen() notes the caller's credentials (SO_PEERCRED)
        raise ApplicationError("this is not the descriptor that listens")
    try:
        application.listen(backlog)
    except OSError as error:
        raise ApplicationError(f"listen: {error.strerror}", error.errno) from None


async def _begin(session: Session, message: Listen, application: socket.socket) -> None:
    settings = session.settings(session.socket.request(), Role.ACCEPTOR)
    context_for(settings)
    session.outer().listen()
    session.queue = queue = ApplicationListener(application, session.services.runtime, message.backlog)
    session.socket.happen(Event.LISTEN)
    session.remember_names()
    transcript = sharing.transcript(session, path=str(queue.path))
    session.start(_take_peers, session, queue, transcript, settings)


async def _take_peers(session: Session, queue: ApplicationListener, transcript: Transcript, settings: Settings) -> None:
    """Take peers here and in the other workers until nobody has the application's listener any more."""
    wire = session.outer().socket
    lifeline, others_lifeline = socket.socketpair()
    try:
        with lifeline, others_lifeline:
            acceptor = Acceptor(session.services, wire, session, settings, transcript)
            acceptor.lifeline = others_lifeline
            await acceptor.share(ALL_OTHERS)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acceptor.run)
                await queue.closed()
                nursery.cancel_scope.cancel()
    finally:
        queue.close()
    session.end()


def take_peers_for_another(services: Services, descriptors: list[int]) -> None:
    """Take peers of a listener whose channel another worker has, until that lets go of the lifeline."""
    file, *rest = descriptors
    transcript = read(file)
    os.close(file)
    if transcript.path in services.acceptors:  # we were new, and were told twice
        close_all(rest)
        return
    wire, lifeline = (socket.socket(fileno=descriptor) for descriptor in rest)
    twin = sessions.Session(services, transcript.uid)
    twin.be_known(transcript)
    twin.adopt(Outer(transcript.family, wire))
    acceptor = Acceptor(services, wire, twin, None, transcript)
    options = [option for option in transcript.options if option[0] == IPPROTO_TLS]  # the wire has had the others
    services.start(_until_let_go, acceptor, options, wire, lifeline)


async def _until_let_go(
    acceptor: Acceptor, options: list[Option], wire: socket.socket, lifeline: socket.socket
) -> None:
    with wire, lifeline:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_begin_for_another, acceptor, options)
            await trio.lowlevel.wait_readable(lifeline)
            nursery.cancel_scope.cancel()


async def _begin_for_another(acceptor: Acceptor, options: list[Option]) -> None:
    """Hear what the listener was told, and take its peers; those that come meanwhile wait."""
    with contextlib.suppress(SsaError):  # then nobody is let in, and the log says why
        await naming.have_ready(acceptor.owner, options)
        acceptor.owner.replay(options)
    acceptor.renew()
    await acceptor.run()


def take_peer(services: Services, path: str, peer: socket.socket) -> None:
    """Serve a peer that another worker has taken and that is ours by its address."""
    if (acceptor := services.acceptors.get(path)) is None:
        peer.close()  # nobody listens any more
        return
    acceptor.take(peer)


class Acceptor:
    """One worker's share of a listener."""

    def __init__(
        self,
        services: Services,
        wire: socket.socket,
        owner: Session,
        settings: Settings | None,
        transcript: Transcript,
    ) -> None:
        """``owner`` listens, here or in another worker; without settings nobody is let in."""
        self.lifeline: socket.socket | None = None
        """for the other workers, where the listener is this one's"""
        self._served = 0
        self._services = services
        self._wire = wire
        self.port: int = wire.getsockname()[1]
        self.owner = owner
        self._settings = settings
        self._transcript = transcript
        self._handshakes = Crowd()
        self._queue_turn = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._early: list[socket.socket] = []
        self._waiting = 0
        self._taking = trio.CancelScope()
        self._retired = services.retiring is not None
        if self._retired:
            self._taking.cancel()
        services.acceptors[transcript.path] = self

    @property
    def is_wanted(self) -> bool:
        """Whether the application still has its listener."""
        return is_open(self._transcript.path)

    async def run(self) -> None:
        """Take peers until cancelled."""
        try:
            self._hold_staples()
            async with trio.open_nursery() as self._nursery:
                for peer in self._early:
                    self.take(peer)
                with self._taking:
                    await self._take_peers()
                if self._retired:  # what is left is the owner's business
                    await trio.sleep_forever()
        finally:
            self._services.staples.release(self)
            self._nursery = None
            self._services.acceptors.pop(self._transcript.path, None)
            self._services.ports_left[self.port] = trio.current_time()

    async def _take_peers(self) -> None:
        while True:
            peer = await self._next()
            if (home := self._home_of(peer)) == self._services.index:
                self.take(peer)
            else:
                await self._send_home(peer, home)
            await trio.lowlevel.checkpoint()  # a crowd of peers leaves others their turn

    def stop(self) -> None:
        """Take no peers any more: the kernel refuses them.  Those whose handshake is under way are served."""
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)
        self._taking.cancel()

    async def share(self, target: int) -> None:
        """Let another worker take peers too, or all others; nothing where this is not the listener's own worker."""
        if self.lifeline is None:
            return
        file = write(self._transcript)
        try:
            shared = [file, self._wire.fileno(), self.lifeline.fileno()]
            await self._services.post(target, Post.LISTENER, b"", shared)
        finally:
            os.close(file)

    def retire(self) -> None:
        """Take no peers any more, since others do; those that were taken are served."""
        self._retired = True
        self._hold_staples()
        self._taking.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether peers that were taken are being served."""
        return bool(self._served)

    def renew(self) -> None:
        """Serve the next peers under the profile that applies now; if it forbids this listener, turn them away."""
        try:
            self._settings = self.owner.settings(self.owner.socket.request(), Role.ACCEPTOR)
            context_for(self._settings)
        except SsaError as error:
            self._settings = None
            self.owner.socket.error_text = error.text
            _log.warning("listener %d lets nobody in: %s", self.owner.socket.number, error.text)
        self._hold_staples()

    def _hold_staples(self) -> None:
        settings = None if self._retired else self._settings
        self._services.staples.hold(self, self._transcript.uid, settings)

    def take(self, peer: socket.socket) -> None:
        """Serve one peer."""
        if self._nursery is None:
            self._early.append(peer)
        elif self._is_full():
            peer.close()
        else:
            self._nursery.start_soon(self._serve, peer)

    def _is_full(self) -> bool:
        """Whether as many authenticated peers wait for the application as handshakes may be under way."""
        return self._waiting >= self.owner.profile.pending_handshakes

    def _home_of(self, peer: socket.socket) -> int:
        """Return which worker a peer is for: with resumption always the same one, which can read its own tickets."""
        if self._settings is None or not self._settings.session_ttl_s:
            return self._services.index
        try:
            return zlib.crc32(peer.getpeername()[0].encode("ascii")) % self._services.worker_count
        except OSError:  # it has gone
            return self._services.index

    async def _send_home(self, peer: socket.socket, home: int) -> None:
        with peer:
            await self._services.post(home, Post.PEER, self._transcript.path.encode(), [peer.fileno()])

    async def _next(self) -> socket.socket:
        while True:
            while self._is_full():  # the kernel's own queue holds the others back
                await trio.sleep(_PAUSE_S)
            try:
                peer, _ = self._wire.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._wire)
            except OSError as error:
                if error.errno in _OUT_OF_RESOURCES:
                    _log.error("cannot accept a peer: %s", error.strerror)
                    await trio.sleep(_PAUSE_S)
                else:  # the peer has gone, or its network has (accept(2))
                    await trio.lowlevel.checkpoint()
            else:
                return peer

    async def _serve(self, peer: socket.socket) -> None:
        self._served += 1
        try:
            await self._admit(peer)
        finally:
            self._served -= 1
            self._services.look_whether_quiet()

    async def _admit(self, peer: socket.socket) -> None:
        handed_over = False
        peer.setblocking(False)
        try:
            address = peer.getpeername()
        except OSError:  # it has gone
            peer.close()
            return
        uid = self._transcript.uid
        self._services.ledger.enter(uid)
        try:
            epoch = self._services.epoch
            if (settings := self._settings) is None:
                raise DaemonError(self.owner.socket.error_text)
            self._services.check_room(uid, self.owner.profile)
            engine = Engine(context_for(settings), settings, staple=partial(self._services.staples.look_up, self))
            wire = Wire(peer, engine)
            if await self._authenticate(engine, wire, settings):
                handed_over = await self._present(peer, address, wire, engine, epoch)
        except SsaError as error:
            reporting.turned_away(self.owner, address, error)
        except Exception:
            _log.exception("a defect ended one peer's handshake; the others go on")
        finally:
            if not handed_over:
                self._services.ledger.leave(uid)
                peer.close()

    async def _authenticate(self, engine: Engine, wire: Wire, settings: Settings) -> bool:
        """Shake hands; False when this one had to give way."""
        with self._handshakes.join(self.owner.profile.pending_handshakes) as scope:
            await authenticate(engine, wire, settings)
        return not scope.cancelled_caught

    async def _present(self, peer: socket.socket, address: Address, wire: Wire, engine: Engine, epoch: int) -> bool:
        """Put a peer, authenticated under the policy of ``epoch``, into the application's queue and serve it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._waiting += 1
        with theirs:
            try:
                async with self._queue_turn:
                    greeting = build_sockaddr(self._transcript.family, address)
                    inner = await present(self._transcript.path, greeting, theirs)
            except OSError:  # nobody listens any more
                ours.close()
                return False
            except BaseException:
                ours.close()
                raise
            finally:
                self._waiting -= 1
        state = SecureSocket.accepted(self._services.next_number(), self.owner.socket, engine.negotiated())
        accepted = sessions.Session(self._services, self._transcript.uid, state)
        accepted.counted_for = self._transcript.uid
        accepted.watched, accepted.pid = self._transcript.watches, self._transcript.pid
        accepted.application, accepted.role = self.owner.application, Role.ACCEPTOR
        accepted.be_connected(engine, wire)
        accepted.epoch = epoch
        accepted.adopt(Outer(self._transcript.family, peer))
        accepted.remember_names()
        reporting.connected(accepted, wire)
        self._services.start(accepted.serve_accepted, DaemonChannel(ours), inner, wire, engine)
        return True
