"""The workers of one daemon as their parent sees them: kept alive, asked, replaced, and carrying each other's post.

Each has a place of a fixed number.  A worker that ends unasked is replaced in its place.  When a policy lets workers
reach other files than those that run were confined to, every place gets a *successor*, and the workers that were there
*retire*: they take nothing new, hand their listeners and unconnected sockets on, and end with their last connection.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from ..control.channel import close_all, receive_bytes
from ..keys.custody import KeyKeeper
from ..policy.policy import Policy
from ..tls.sessions import SessionCache
from . import identity, resumption
from .distribution import pack
from .hardened import reach_of
from .inner import inner_path
from .ledger import Book
from .mail import (
    ALL_OTHERS,
    BETWEEN_WORKERS,
    MAX_POST_BYTES,
    MAX_POST_DESCRIPTORS,
    PARENT,
    RETIRED,
    TO_SUCCESSORS,
    Ask,
    Post,
    split_forward,
)
from .processes import Worker, end, give, gone, is_ready, offer, start

_log = logging.getLogger("ssad")
_RESTART_PAUSE_S = (0.0, 0.1, 0.5, 1.0, 5.0)
_START_S = 60.0
"""how long the successors of all workers may take to start"""
_LAST_WORD_S = 5.0
_NUMBER = struct.Struct("<I")
_INDEX = struct.Struct("<H")


@dataclass
class _Question:
    worker: Worker
    answered: trio.Event = field(default_factory=trio.Event)
    answer: bytes | None = None
    """None when the worker has ended"""


class Fleet:
    """All workers, and the policy that they are under."""

    def __init__(
        self, runtime: Path, worker_count: int, policy: Policy, failed: Callable[[str], None], keys: KeyKeeper
    ) -> None:
        """``failed`` is called when a worker cannot even start, with the reason."""
        self.workers: list[Worker | None] = [None] * worker_count
        self.retired: list[Worker] = []
        """those that have successors, and connections still"""
        self.restarts = [0] * worker_count
        self.sessions = SessionCache()
        self.ended: Callable[[Worker, bytes], None] = lambda worker, counted: None
        """called with a worker that has ended, and what it had counted, b"" when it ended unasked"""
        self.closing = False
        """whether the daemon is about to end: workers are not replaced any more"""
        self._nursery: trio.Nursery | None = None
        self._serials = itertools.count()
        self._runtime = runtime
        self._failed = failed
        self._keys = keys
        self._next = 0
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._policy = policy
        self._file = pack(policy)
        self._book = Book()

    def close(self) -> None:
        """Release the files that workers share."""
        os.close(self._file)
        self._book.close()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def govern(self, policy: Policy, file: int) -> None:
        """Let workers that start from now on have this policy, of this file, which is the fleet's from now on."""
        os.close(self._file)
        self._policy, self._file = policy, file

    @property
    def alive(self) -> list[Worker]:
        """The workers that are ready."""
        return [worker for worker in self.workers if worker is not None]

    @property
    def all(self) -> list[Worker]:
        """The workers that are ready, and those that have retired."""
        return [*self.alive, *self.retired]

    # -- handing out

    async def pass_on(self, channel: socket.socket) -> None:
        """Give a channel to the next worker that reads its post; wait only when none does."""
        for hand_over in (offer, give):
            for _ in self.workers:
                worker = self.workers[self._next]
                self._next = (self._next + 1) % len(self.workers)
                if worker is not None and await hand_over(worker.dispatch, Post.CHANNEL.value, [channel.fileno()]):
                    return
        _log.error("no worker is alive: a new socket was refused")

    # -- questions

    async def ask(self, worker: Worker, what: Ask, parameter: bytes = b"") -> bytes | None:
        """Ask one worker; None when it has ended before it answered.  It may wait for ever: use a cancel scope."""
        return await self._answer_to(worker, lambda number: Post.ASK.value + number + what.value + parameter, [])

    async def prepare(self, worker: Worker, file: int, *, stays: bool) -> bytes | None:
        """Give a policy to a worker, to have ready; its answer is empty, or why one that stays cannot use it."""
        trying = b"1" if stays else b""
        return await self._answer_to(worker, lambda number: Post.POLICY.value + number + trying, [file])

    async def _answer_to(
        self, worker: Worker, message: Callable[[bytes], bytes], descriptors: list[int]
    ) -> bytes | None:
        number = next(self._numbers)
        self._questions[number] = question = _Question(worker)
        try:
            if not await give(worker.dispatch, message(_NUMBER.pack(number)), descriptors):
                return None
            await question.answered.wait()
            return question.answer
        finally:
            del self._questions[number]

    async def ask_all(
        self, what: Ask, parameter: bytes = b"", patience_s: float = 5.0, whom: Iterable[Worker] | None = None
    ) -> dict[Worker, bytes]:
        """Ask all workers at once, the retired ones too; return the answers of those that answer in time."""
        answers: dict[Worker, bytes] = {}

        async def one(worker: Worker) -> None:
            if (answer := await self.ask(worker, what, parameter)) is not None:
                answers[worker] = answer

        with trio.move_on_after(patience_s):
            async with trio.open_nursery() as nursery:
                for worker in self.all if whom is None else whom:
                    nursery.start_soon(one, worker)
        return answers

    async def adopt(self, worker: Worker) -> None:
        """Give the policy in force to a worker that has none, or another."""
        while worker.policy is not self._policy:
            policy, stays = self._policy, b"" if worker.retired else b"1"
            await give(worker.dispatch, Post.POLICY.value + _NUMBER.pack(0) + stays, [self._file])
            worker.policy = policy

    async def link_keys(self) -> None:
        """Connect all workers to the keeper of the keys."""
        for worker in self.all:
            await self._link(worker)

    async def _link(self, worker: Worker) -> None:
        if (end := self._keys.link()) is not None:
            with end:
                await give(worker.dispatch, Post.KEEPER.value, [end.fileno()])

    # -- post

    async def _carry(self, worker: Worker) -> None:
        """Carry what a worker has for us and the others, until it ends."""
        while True:
            try:
                data, descriptors = receive_bytes(worker.dispatch, MAX_POST_BYTES, MAX_POST_DESCRIPTORS)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(worker.dispatch)
                continue
            except OSError:
                return
            if not data:
                return
            try:
                await self._carry_one(worker, *split_forward(data), descriptors)
            except (ValueError, struct.error):
                _log.error("worker %d says what no worker may say, and is killed", worker.process.pid)
                worker.process.kill()
                return
            finally:
                close_all(descriptors)

    async def _carry_one(self, worker: Worker, target: int, message: bytes, descriptors: list[int]) -> None:
        """Raises ValueError and struct.error for what no worker may say: this one has been taken over."""
        if target == PARENT:
            await self._hear(worker, message, descriptors)
            return
        kind, is_successor = Post(message[:1]), worker.retired and target == worker.index
        if not (kind in BETWEEN_WORKERS or (kind in TO_SUCCESSORS and is_successor)):
            raise ValueError(f"a worker cannot send {kind.name} to another")
        if target == RETIRED:
            await self._ask_the_retired(worker, message, descriptors)
        for other in self.alive:
            if other is not worker and target in {other.index, ALL_OTHERS}:
                await give(other.dispatch, message, descriptors)

    async def _ask_the_retired(self, worker: Worker, claim: bytes, descriptors: list[int]) -> None:
        """Carry a claim to the next worker that has retired; whoever has it last says that nobody knows the socket."""
        following = self.retired[self.retired.index(worker) + 1 :] if worker.retired else self.retired
        for other in following:
            if await give(other.dispatch, claim, descriptors):
                return
        await give(worker.dispatch, Post.UNKNOWN.value + claim[1:], descriptors)

    async def _hear(self, worker: Worker, message: bytes, descriptors: list[int]) -> None:
        match Post(message[:1]):
            case Post.IDENTIFY:
                await give(worker.dispatch, identity.answer(message[1:]), [])
            case Post.ANSWER:
                (number,) = _NUMBER.unpack_from(message, 1)
                question = self._questions.get(number)
                if question is not None and question.worker is worker and descriptors:
                    question.answer = os.pread(descriptors[0], os.fstat(descriptors[0]).st_size, 0)
                    question.answered.set()
            case Post.KEEP | Post.TAKE:
                if answer := resumption.serve(self.sessions, message, time.monotonic()):
                    await give(worker.dispatch, answer, [])
            case kind:
                raise ValueError(f"a worker cannot send {kind.name} to its parent")

    # -- life

    async def run(self, nursery: trio.Nursery) -> None:
        """Start all workers, one after the other, and keep them alive for as long as the nursery lives."""
        self._nursery = nursery
        for index in range(len(self.workers)):
            await nursery.start(self._keep_alive, index)

    async def _keep_alive(self, index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start a worker, and another whenever it has ended; done starting once the first one is ready."""
        failures = 0
        while self.workers[index] is None:  # else a successor has taken the place meanwhile
            worker = self._start(index)
            try:
                await self.adopt(worker)
                if ready := await self._is_ready(worker):
                    await self.adopt(worker)  # there may be another policy by now
                    if self.workers[index] is not None:
                        return
                    self.workers[index] = worker
                    await self._introduce(worker)
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                await self._serve(worker)
                if task_status is not trio.TASK_STATUS_IGNORED:
                    self._failed(f"a worker ended with {worker.process.returncode} before it was ready")
                    await trio.sleep_forever()
                self._report(worker)
            finally:
                await self._let_go(worker)
            if worker.retired:
                return
            failures = 0 if ready else failures
            await trio.sleep(_RESTART_PAUSE_S[min(failures, len(_RESTART_PAUSE_S) - 1)])
            failures += 1

    async def _succeed(self, worker: Worker) -> None:
        """Serve as the successor that was hired; then as ever."""
        try:
            await self._introduce(worker)
            await self._serve(worker)
            self._report(worker)
        finally:
            await self._let_go(worker)
        if not worker.retired:
            await self._keep_alive(worker.index)

    async def _introduce(self, worker: Worker) -> None:
        """Connect a worker that is ready with the keys and with the listeners of the others."""
        await self._link(worker)
        for other in self.all:
            if other is not worker:
                await give(other.dispatch, Post.NEWCOMER.value + _INDEX.pack(worker.index), [])

    async def _serve(self, worker: Worker) -> None:
        """Carry a worker's post until it has ended, unasked or, when it has retired, with its last connection."""
        with worker.serving:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._carry, worker)
                await gone(worker.process)
                nursery.cancel_scope.cancel()

    def _report(self, worker: Worker) -> None:
        if not worker.serving.cancelled_caught:
            what = "and its connections with it" if worker.retired else "starting another"
            _log.error("worker %d ended with %s; %s", worker.process.pid, worker.process.returncode, what)
            self.restarts[worker.index] += not worker.retired
            self.ended(worker, b"")

    async def _let_go(self, worker: Worker) -> None:
        if self.workers[worker.index] is worker:
            self.workers[worker.index] = None
        if worker in self.retired:
            self.retired.remove(worker)
        for question in self._questions.values():
            if question.worker is worker:
                question.answered.set()
        with trio.CancelScope(shield=True):
            await self._end(worker)

    def _start(self, index: int) -> Worker:
        return start(index, next(self._serials), len(self.workers), self._runtime, self._book)

    async def _end(self, worker: Worker) -> None:
        await end(worker)
        self._book.clear(worker.column)
        inner_path(self._runtime, worker.process.pid).unlink(missing_ok=True)  # of one that was killed

    async def _is_ready(self, worker: Worker) -> bool:
        if not await is_ready(worker):
            return False
        assert worker.policy is not None
        worker.reach = await trio.to_thread.run_sync(reach_of, worker.policy)
        return True

    # -- successors

    async def confines(self, policy: Policy) -> bool:
        """Whether workers that run are kept from files that this policy lets workers reach, or that are others now."""
        reach = await trio.to_thread.run_sync(reach_of, policy)
        return any(worker.hardening.landlock_abi and not reach <= worker.reach for worker in self.alive)

    async def hire(self, policy: Policy, file: int) -> list[Worker]:
        """Start a successor for every worker, under a policy that is not in force yet; () when one does not start."""
        if not self._book.has_room_for(2 * len(self.workers)):  # them, and one for each that has ended meanwhile
            _log.error("%d workers have retired and still have connections; end some, or restart", len(self.retired))
            return []
        hired = [self._start(index) for index in range(len(self.workers))]
        ready: list[Worker] = []

        async def one(worker: Worker) -> None:
            await give(worker.dispatch, Post.POLICY.value + _NUMBER.pack(0), [file])
            worker.policy = policy
            if await self._is_ready(worker):
                ready.append(worker)

        try:
            with trio.move_on_after(_START_S):
                async with trio.open_nursery() as nursery:
                    for worker in hired:
                        nursery.start_soon(one, worker)
        finally:
            if len(ready) < len(hired):
                await self.dismiss(hired)
        return hired if len(ready) == len(hired) else []

    async def dismiss(self, hired: Iterable[Worker]) -> None:
        """End workers that were hired, and are not needed after all."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for worker in hired:
                    nursery.start_soon(self._end, worker)

    def replace(self, hired: Iterable[Worker]) -> list[Worker]:
        """Let successors have the places from now on: new sockets come to them; return who is to retire."""
        assert self._nursery is not None
        retiring = []
        for worker in hired:
            if (before := self.workers[worker.index]) is not None:
                before.retired = True
                self.retired.append(before)
                retiring.append(before)
            self.workers[worker.index] = worker
            self._nursery.start_soon(self._succeed, worker)
        return retiring

    def retire(self, workers: Iterable[Worker]) -> None:
        """Let workers that have successors end with what they have."""
        assert self._nursery is not None
        for worker in workers:
            self._nursery.start_soon(self._see_off, worker)

    async def _see_off(self, worker: Worker) -> None:
        """Wait until a retired worker has nothing left, hear what it has counted, and end it."""
        if await self.ask(worker, Ask.RETIRE) is None:
            return
        answers = await self.ask_all(Ask.METRICS, patience_s=_LAST_WORD_S, whom=[worker])
        if not worker.serving.cancel_called:
            _log.info("worker %d has ended with its last connection", worker.process.pid)
            self.ended(worker, answers.get(worker, b""))
            worker.serving.cancel()
