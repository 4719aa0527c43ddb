"""The workers of one daemon as their parent sees them: started, kept alive, asked, and carrying each other's post."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from ..control.channel import close_all, receive_bytes
from ..hardening.process import NOTHING, Hardening
from ..keys.custody import KeyKeeper
from ..policy.policy import Policy
from ..tls.sessions import SessionCache
from . import identity, resumption
from .distribution import pack
from .mail import ALL_OTHERS, MAX_POST_BYTES, MAX_POST_DESCRIPTORS, PARENT, READY, Ask, Post, split_forward

_log = logging.getLogger("ssad")
_GRACE_S = 5.0
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
"""glibc (mallopt(3)): keep freed buffers instead of giving them back to the kernel with each connection"""
_RESTART_PAUSE_S = (0.0, 0.1, 0.5, 1.0, 5.0)
_NUMBER = struct.Struct("<I")


@dataclass(eq=False)
class Worker:
    """One process; ``policy`` is the one it was given last, ``hardening`` what it has given up."""

    index: int
    process: subprocess.Popen[bytes]
    dispatch: socket.socket
    policy: Policy | None = None
    hardening: Hardening = NOTHING


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
        self.restarts = [0] * worker_count
        self.sessions = SessionCache()
        self.ended: Callable[[int], None] = lambda index: None
        """called with the number of a worker that ended unasked"""
        self._runtime = runtime
        self._failed = failed
        self._keys = keys
        self._next = 0
        self._numbers = itertools.count(1)
        self._questions: dict[int, _Question] = {}
        self._policy = policy
        self._file = pack(policy)

    def close(self) -> None:
        """Release the policy's file."""
        os.close(self._file)

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

    # -- handing out

    async def pass_on(self, channel: socket.socket) -> None:
        """Give a channel to the next worker that reads its post; wait only when none does."""
        for give in (_offer, _give):
            for _ in self.workers:
                worker = self.workers[self._next]
                self._next = (self._next + 1) % len(self.workers)
                if worker is not None and await give(worker.dispatch, Post.CHANNEL.value, [channel.fileno()]):
                    return
        _log.error("no worker is alive: a new socket was refused")

    # -- questions

    async def ask(self, worker: Worker, what: Ask, parameter: bytes = b"") -> bytes | None:
        """Ask one worker; None when it has ended before it answered.  It may wait for ever: use a cancel scope."""
        return await self._answer_to(worker, lambda number: Post.ASK.value + number + what.value + parameter, [])

    async def prepare(self, worker: Worker, file: int) -> bytes | None:
        """Give a policy to a worker, to have ready; its answer is empty, or why it cannot be used."""
        return await self._answer_to(worker, lambda number: Post.POLICY.value + number, [file])

    async def _answer_to(
        self, worker: Worker, message: Callable[[bytes], bytes], descriptors: list[int]
    ) -> bytes | None:
        number = next(self._numbers)
        self._questions[number] = question = _Question(worker)
        try:
            if not await _give(worker.dispatch, message(_NUMBER.pack(number)), descriptors):
                return None
            await question.answered.wait()
            return question.answer
        finally:
            del self._questions[number]

    async def ask_all(self, what: Ask, parameter: bytes = b"", patience_s: float = 5.0) -> dict[int, bytes]:
        """Ask all workers at once; return the answers, by index, of those that answer in time."""
        answers: dict[int, bytes] = {}

        async def one(worker: Worker) -> None:
            if (answer := await self.ask(worker, what, parameter)) is not None:
                answers[worker.index] = answer

        with trio.move_on_after(patience_s):
            async with trio.open_nursery() as nursery:
                for worker in self.alive:
                    nursery.start_soon(one, worker)
        return answers

    async def adopt(self, worker: Worker) -> None:
        """Give the policy in force to a worker that has none, or another."""
        while worker.policy is not self._policy:
            policy = self._policy
            await _give(worker.dispatch, Post.POLICY.value + _NUMBER.pack(0), [self._file])
            worker.policy = policy

    async def link_keys(self) -> None:
        """Connect all workers to the keeper of the keys."""
        for worker in self.alive:
            await self._link(worker)

    async def _link(self, worker: Worker) -> None:
        if (end := self._keys.link()) is not None:
            with end:
                await _give(worker.dispatch, Post.KEEPER.value, [end.fileno()])

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
                target, message = split_forward(data)
                if target == PARENT:
                    await self._hear(worker, message, descriptors)
                for other in self.workers:
                    if other is not None and other is not worker and target in {other.index, ALL_OTHERS}:
                        await _give(other.dispatch, message, descriptors)
            finally:
                close_all(descriptors)

    async def _hear(self, worker: Worker, message: bytes, descriptors: list[int]) -> None:
        match Post(message[:1]):
            case Post.IDENTIFY:
                await _give(worker.dispatch, identity.answer(message[1:]), [])
            case Post.ANSWER:
                (number,) = _NUMBER.unpack_from(message, 1)
                question = self._questions.get(number)
                if question is not None and question.worker is worker and descriptors:
                    question.answer = os.pread(descriptors[0], os.fstat(descriptors[0]).st_size, 0)
                    question.answered.set()
            case _:
                if answer := resumption.serve(self.sessions, message, time.monotonic()):
                    await _give(worker.dispatch, answer, [])

    # -- life

    async def keep_alive(self, index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start a worker, and another whenever it has ended; done starting once the first one is ready."""
        failures = 0
        while True:
            worker = self._start(index)
            try:
                await self.adopt(worker)
                if await _is_ready(worker):
                    await self.adopt(worker)  # there may be another policy by now
                    self.workers[index] = worker
                    await self._link(worker)
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    failures = 0
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._carry, worker)
                    await _gone(worker.process)
                    nursery.cancel_scope.cancel()
                if task_status is not trio.TASK_STATUS_IGNORED:
                    self._failed(f"a worker ended with {worker.process.returncode} before it was ready")
                    await trio.sleep_forever()
                _log.error("worker %d ended with %s; starting another", worker.process.pid, worker.process.returncode)
                self.restarts[index] += 1
                self.ended(index)
            finally:
                self.workers[index] = None
                for question in self._questions.values():
                    if question.worker is worker:
                        question.answered.set()
                with trio.CancelScope(shield=True):
                    await _end(worker)
            await trio.sleep(_RESTART_PAUSE_S[min(failures, len(_RESTART_PAUSE_S) - 1)])
            failures += 1

    def _start(self, index: int) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            command = [sys.executable, "-m", "ssa_impl.daemon.worker"]
            arguments = [str(theirs.fileno()), str(index), str(len(self.workers)), str(self._runtime)]
            process = subprocess.Popen(
                [*command, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_MALLOC},
            )
        return Worker(index, process, ours)


async def _is_ready(worker: Worker) -> bool:
    while True:
        try:
            said = worker.dispatch.recv(MAX_POST_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(worker.dispatch)
        except ConnectionError:
            return False
        else:
            if said.startswith(READY):
                worker.hardening = Hardening.from_json(said.removeprefix(READY))
            return said.startswith(READY)


async def _offer(dispatch: socket.socket, message: bytes, descriptors: list[int]) -> bool:
    """Send now; False when the worker does not read, or has ended."""
    try:
        socket.send_fds(dispatch, [message], descriptors, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


async def _give(dispatch: socket.socket, message: bytes, descriptors: list[int]) -> bool:
    """Send when the worker reads; False when it has ended."""
    while True:
        try:
            socket.send_fds(dispatch, [message], descriptors, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(dispatch)
        except OSError:
            return False
        else:
            return True


async def _gone(process: subprocess.Popen[bytes]) -> None:
    descriptor = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    process.wait()


async def _end(worker: Worker) -> None:
    """Close the dispatch socket, which a worker takes as its end; kill it if it does not end."""
    worker.dispatch.close()
    if worker.process.poll() is None:
        with trio.move_on_after(_GRACE_S):
            await _gone(worker.process)
        worker.process.kill()
        worker.process.wait()
