"""A reload: the policy is loaded whole, every worker prepares it, and only then does it come into force everywhere.

Whatever goes wrong before the last step leaves the policy that is in force, everywhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence

import trio

from ..keys.custody import KeyKeeper
from ..policy.policy import Policy
from ..tls.sessions import SessionCache
from . import enforcing, notify
from .checking import check
from .distribution import pack
from .fleet import Fleet
from .mail import Ask
from .processes import Worker

_log = logging.getLogger("ssad")
_PATIENCE_S = 30.0
"""how long a worker may take to prepare a policy"""


class PolicyRefused(Exception):
    """A policy cannot be used; ``complaints`` say why, one sentence each."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = tuple(complaints)


class Reloader:
    """Brings the administrator's files into force, one reload after the other."""

    def __init__(self, load: Callable[[], Policy]) -> None:
        """``load`` reads all files; raises PolicyRefused."""
        self._load = load
        self._turn = trio.Lock()
        self.keys = KeyKeeper()
        self.loaded_at_s = 0.0
        """Unix time"""
        self.reloads = 0
        self.refusals = 0
        self.failure = ""
        """why the last reload was refused, "" when it was not"""

    async def first(self) -> Policy:
        """Return the policy to start with.  Raises PolicyRefused."""
        policy = await trio.to_thread.run_sync(self._loaded)
        await self._load_keys(policy)
        await self.keys.commit()
        self.loaded_at_s = time.time()
        return policy

    def _loaded(self) -> Policy:
        try:
            policy = self._load()
        except PolicyRefused:
            raise
        except Exception:
            _log.exception("a defect kept the policy's files from being read")
            raise PolicyRefused(["a defect of the daemon kept the files from being read; its log says more"]) from None
        if complaints := check(policy):
            raise PolicyRefused(complaints)
        return policy

    async def _load_keys(self, policy: Policy) -> None:
        """Let the keeper read all key files anew.  Raises PolicyRefused."""
        if complaints := await self.keys.load(policy.keys):
            raise PolicyRefused(complaints)

    async def reload(self, fleet: Fleet, *, enforce: bool = False) -> int:
        """Let the files as they are now be in force; return how many connections were cut.  Raises PolicyRefused."""
        async with self._turn:
            notify.reloading()
            try:
                closed = await self._reload(fleet, enforce)
            except PolicyRefused as refused:
                self.failure = str(refused)
                self.refusals += 1
                _log.error("the policy was not changed: %s", "; ".join(refused.complaints))
                raise
            finally:
                notify.notify("READY=1")
            self.failure, self.loaded_at_s = "", time.time()
            self.reloads += 1
            _log.info("another policy is in force; %d connections were ended", closed)
            return closed

    async def _reload(self, fleet: Fleet, enforce: bool) -> int:
        policy = await trio.to_thread.run_sync(self._loaded)
        await self._load_keys(policy)
        file = pack(policy)
        workers = fleet.all
        hired: list[Worker] = []
        try:
            they_stay = fleet.closing or not await fleet.confines(policy)
            complaints = await _prepare(fleet, workers, file, they_stay=they_stay)
            if not complaints and not they_stay:
                hired = await fleet.hire(policy, file)
                complaints = [] if hired else ["the workers that may read the policy's files do not start; see the log"]
            if complaints:
                await fleet.ask_all(Ask.ABORT)
                raise PolicyRefused(complaints)
        except BaseException:
            os.close(file)
            raise
        for worker in workers:
            worker.policy = policy
        fleet.govern(policy, file)
        retiring = fleet.replace(hired)
        for (
            worker
        ) in fleet.all:  # one that has become ready meanwhile, and may have connections: it has them judged too
            await fleet.adopt(worker)
        fleet.sessions = SessionCache()  # they were agreed on under other rules
        patience_s = _PATIENCE_S + enforcing.PATIENCE_S * enforce
        answers = await fleet.ask_all(Ask.COMMIT, b"1" if enforce else b"", patience_s)
        await self.keys.commit()
        fleet.retire(retiring)
        return sum(int(answer or b"0") for answer in answers.values())


async def _prepare(fleet: Fleet, workers: Sequence[Worker], file: int, *, they_stay: bool) -> list[str]:
    """Let workers prepare a policy; return what is wrong with it."""
    complaints: list[str] = []
    prepared: list[Worker] = []

    async def one(worker: Worker) -> None:
        stays = they_stay and not worker.retired
        if (answer := await fleet.prepare(worker, file, stays=stays)) is None and not worker.retired:
            complaints.append(f"worker {worker.index} ended while it prepared the policy; try again")
        elif answer:
            complaints.extend(answer.decode().splitlines())
        prepared.append(worker)

    with trio.move_on_after(_PATIENCE_S):
        async with trio.open_nursery() as nursery:
            for worker in workers:
                nursery.start_soon(one, worker)
    late = [worker.index for worker in workers if worker not in prepared]
    complaints += [f"worker {index} did not answer within {_PATIENCE_S:g} s; try again" for index in late]
    return list(dict.fromkeys(complaints))
