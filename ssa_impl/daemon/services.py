"""What the sessions of one worker share, and how they reach the other workers."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import trio

from ..administration.metrics import Counts
from ..errors import LimitError
from ..keys.holding import Keys
from ..policy.model import Profile
from ..policy.policy import Application, Policy
from .crowd import Crowd
from .handles import Handles
from .identity import Identities
from .inner import InnerListener
from .ledger import Ledger
from .mail import PARENT, RETIRED, Post, forwarded
from .naming import renew_listeners
from .resumption import Sessions
from .stapling import Staples

if TYPE_CHECKING:
    from .accepting import Acceptor
    from .session import Session

NUMBERS_PER_WORKER = 1 << 48
_NUMBERS_PER_START, _STARTS = 1 << 36, 1 << 12
_PROFILES_KEPT = 4096


@dataclass
class Services:
    """One per worker."""

    policy: Policy
    """the one in force; ``governing`` lets another one be"""
    index: int
    worker_count: int
    runtime: Path
    inner: InnerListener
    dispatch: socket.socket
    start: Callable[[Callable[..., Awaitable[object]], *tuple[object, ...]], None]
    """run something for as long as the worker lives"""
    acceptors: dict[str, Acceptor] = field(default_factory=dict)
    """this worker's shares of listeners, by the path at which the application listens"""
    ports_left: dict[int, float] = field(default_factory=dict)
    """when this worker's last share of a listener at a port ended (trio's clock)"""
    by_inode: dict[tuple[int, int], Session] = field(default_factory=dict)
    """sockets that another process may claim, by their owner and the inode of the application's descriptor: whoever
    shows the descriptor of another user's, or a file of the same number, is in nobody's way"""
    live: set[Session] = field(default_factory=set)
    """all secure sockets of this worker"""
    prepared: Policy | None = None
    """what may be in force next"""
    prepared_to_retire: bool = False
    """whether a successor will be there by then, who may reach files that this worker cannot"""
    refers: bool = False
    """whether it is there, and judges in this one's stead"""
    epoch: int = 0
    """how many policies have been in force before this one"""
    enforced: int = 0
    """the last of them that connections of before were judged by: what was made under one before is to be, too"""
    draining: trio.Event | None = None
    """set once no connection is left, where new ones are not to come"""
    retiring: trio.Event | None = None
    """set once nothing is left at all, where a successor takes what is new"""
    arriving: int = 0
    """channels whose socket is not known yet, or has come to its end"""
    serial: int = 0
    """which start of a worker this is: its sockets have numbers that no other's have"""
    verifying: trio.Lock = field(default_factory=trio.Lock)
    """whose turn it is to verify a chain again: between one and the next, connections have theirs"""
    counts: Counts = field(default_factory=Counts)
    """what is shown as metrics"""
    ledger: Ledger = field(default_factory=Ledger)
    """how many sockets each user has, in all workers"""
    _silent: WeakValueDictionary[int, Crowd] = field(default_factory=WeakValueDictionary)
    handles: Handles = field(default_factory=Handles)
    """what the TLS_CONTEXT handles that this worker gave out stand for"""
    sessions: Sessions = field(init=False)
    """TLS sessions that initiators can resume"""
    identities: Identities = field(init=False)
    """who applications are"""
    keys: Keys = field(init=False)
    """the policy's keys, as far as sockets of this worker use them"""
    staples: Staples = field(init=False)
    """OCSP answers about certificates that sockets of this worker present"""
    _profiles: dict[Application, Profile] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.sessions = Sessions(partial(self.post, PARENT), self.start)
        self.identities = Identities(partial(self.post, PARENT))
        self.staples = Staples(self.start, self.counts)
        self.keys = Keys(self.start, partial(renew_listeners, self))

    def next_number(self) -> int:
        """Return a TLS_ID that no other socket of this daemon has."""
        first = self.index * NUMBERS_PER_WORKER + self.serial % _STARTS * _NUMBERS_PER_START
        return first + next(self._numbers) + 1

    @property
    def tells_applications_apart(self) -> bool:
        """Whether it matters who an application is: now, or under the policy that may come next."""
        return bool(self.policy.rules or (self.prepared is not None and self.prepared.rules))

    def profile_for(self, application: Application) -> Profile:
        """Return the profile that applies; whoever differs in nothing but the process has the same."""
        key = replace(application, pid=0)
        if (found := self._profiles.get(key)) is None:
            if len(self._profiles) >= _PROFILES_KEPT:
                self._profiles.clear()
            found = self._profiles[key] = self.policy.profile_for(application)
        return found

    def govern(self, policy: Policy) -> None:
        """Let a policy be in force for whoever asks from now on."""
        self.policy = policy
        self.prepared = None
        self.refers = self.refers or self.prepared_to_retire
        self.epoch += 1
        self._profiles.clear()

    def look_whether_quiet(self) -> None:
        """While draining: note that no connection is left; having retired: that nothing is."""
        if self.draining is not None and not any(session.is_busy for session in self.live):
            self.draining.set()
        if self.retiring is not None and not self.live and not self.arriving and not self._has_peers_under_way:
            self.retiring.set()

    @property
    def _has_peers_under_way(self) -> bool:
        return any(acceptor.is_busy for acceptor in self.acceptors.values())

    def silent_channels(self, uid: int) -> Crowd:
        """Return a user's channels that have said nothing yet."""
        return self._silent.setdefault(uid, Crowd())

    def check_room(self, uid: int, profile: Profile) -> None:
        """Raise LimitError(ENOBUFS) when, with what was counted just now, there are more sockets than are allowed."""
        if self.ledger.held(uid) > profile.sockets_per_user:
            limit = f"{profile.sockets_per_user} secure sockets for one user is reached"
            raise LimitError(f"the limit of {limit} {profile.rule('sockets_per_user')}")
        if self.ledger.held() > self.policy.daemon.sockets:
            limit = f"{self.policy.daemon.sockets} secure sockets for all users is reached"
            raise LimitError(f"the limit of {limit} ([daemon] sockets)")

    def home_of(self, handle: int) -> int | None:
        """Return the worker that gave a handle out, None when no worker can have."""
        index = handle // NUMBERS_PER_WORKER
        return index if index < self.worker_count else None

    async def post(self, target: int, kind: Post, body: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        """Send to another worker, by way of the parent; nothing when there is none."""
        if self.worker_count == 1 and not self.refers and self.retiring is None and target not in {PARENT, RETIRED}:
            return
        message = forwarded(target, kind, body)
        while True:
            try:
                socket.send_fds(self.dispatch, [message], list(descriptors), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.dispatch)
            except OSError:
                return  # the parent has ended: so will we
            else:
                return
