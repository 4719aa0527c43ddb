"""The parent of the workers: it listens, hands each new secure socket to the next worker, and keeps workers alive.

It never reads from a channel: a channel is passed on as soon as it is accepted, one after the other to each worker, so
that the sockets of one application spread over all of them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio
from OpenSSL import SSL

from .. import __version__
from ..control.channel import close_all, receive_bytes
from ..tls.sessions import SessionCache
from .mail import ALL_OTHERS, MAX_POST_BYTES, MAX_POST_DESCRIPTORS, PARENT, READY, Post, split_forward
from .resumption import serve

_log = logging.getLogger("ssad")
_GRACE_S = 5.0
_LONGEST_PATH_BYTES = 107 - len(".d/worker-4194304.inner")  # sun_path of unix(7), for the workers' own names too
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
"""glibc (mallopt(3)): keep freed buffers instead of giving them back to the kernel with each connection"""
_RESTART_PAUSE_S = (0.0, 0.1, 0.5, 1.0, 5.0)


class CannotStart(Exception):
    """The daemon cannot run here; the text says why and what to do."""


@dataclass
class _Worker:
    index: int
    process: subprocess.Popen[bytes]
    dispatch: socket.socket
    ready: trio.Event = field(default_factory=trio.Event)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen for boundaries at ``path``, for this user only.  Raises CannotStart."""
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise CannotStart(
            f"the socket's path has more than {_LONGEST_PATH_BYTES} bytes: {path}; choose a shorter one with --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as listener:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            _remove_stale(path)
            previous = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(previous)
            listener.listen(1024)
        except OSError as error:
            raise CannotStart(
                f"cannot listen at {path}: {error.strerror}; choose another place with --socket"
            ) from None
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def private_directory(path: Path) -> Iterator[None]:
    """Keep a directory that nobody but this user may enter: who could would get at the applications' plain text.

    Raises CannotStart when somebody else was here first.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise CannotStart(f"cannot make {path}: {error.strerror}; choose another place with --socket") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise CannotStart(f"others may enter {path}; remove it, or choose another place with --socket")
    try:
        yield
    finally:
        for leftover in path.iterdir():
            leftover.unlink(missing_ok=True)
        path.rmdir()


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise CannotStart(f"another ssad listens at {path}; stop it, or choose another place with --socket")
    path.unlink()


class Parent:
    """Listener and workers of one daemon."""

    def __init__(self, path: Path, worker_count: int) -> None:
        self._path = path
        self._runtime = path.with_name(path.name + ".d")
        self._workers: list[_Worker | None] = [None] * worker_count
        self._next = 0
        self._sessions = SessionCache()
        self._scope = trio.CancelScope()
        self._start_failure = ""

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; everything is gone afterwards.  Raises CannotStart."""
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
            listening(self._path) as listener,
            private_directory(self._runtime),
        ):
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                nursery.start_soon(self._end_on, signals)
                for index in range(len(self._workers)):
                    await nursery.start(self._keep_alive, index)
                self._announce()
                await self._hand_out(listener)
        if self._start_failure:
            raise CannotStart(self._start_failure)

    async def _end_on(self, signals: AsyncIterator[int]) -> None:
        await anext(signals)
        self._scope.cancel()

    def _announce(self) -> None:
        ready = {
            "ready": True,
            "pid": os.getpid(),
            "workers": [worker.process.pid for worker in self._workers if worker],
            "socket": str(self._path),
            "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
            "version": __version__,
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()

    # -- handing out

    async def _hand_out(self, listener: socket.socket) -> None:
        while True:
            try:
                channel, _ = listener.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(listener)
            except OSError as error:
                if error.errno not in {errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOMEM}:
                    raise
                _log.error("cannot accept: %s", error.strerror)
                await trio.sleep(0.05)
            else:
                with channel:
                    await self._pass_on(channel)

    async def _pass_on(self, channel: socket.socket) -> None:
        """Give a channel to the next worker that reads its post; wait only when none does."""
        for give in (_offer, _give):
            for _ in self._workers:
                worker = self._workers[self._next]
                self._next = (self._next + 1) % len(self._workers)
                if worker is not None and await give(worker.dispatch, Post.CHANNEL.value, [channel.fileno()]):
                    return
        _log.error("no worker is alive: a new socket was refused")

    async def _forward(self, worker: _Worker) -> None:
        """Carry what a worker has for the others, until it ends."""
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
                if target == PARENT and (answer := serve(self._sessions, message, time.monotonic())):
                    await _give(worker.dispatch, answer, [])
                for other in self._workers:
                    if other is not None and other is not worker and target in {other.index, ALL_OTHERS}:
                        await _give(other.dispatch, message, descriptors)
            finally:
                close_all(descriptors)

    # -- workers

    async def _keep_alive(self, index: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        failures = 0
        while True:
            worker = self._start(index)
            try:
                if await self._is_ready(worker):
                    self._workers[index] = worker
                    task_status.started()
                    task_status = trio.TASK_STATUS_IGNORED
                    failures = 0
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._forward, worker)
                    await _gone(worker.process)
                    nursery.cancel_scope.cancel()
                if task_status is not trio.TASK_STATUS_IGNORED:
                    self._start_failure = f"a worker ended with {worker.process.returncode} before it was ready"
                    self._scope.cancel()
                    await trio.sleep_forever()
                _log.error("worker %d ended with %s; starting another", worker.process.pid, worker.process.returncode)
            finally:
                self._workers[index] = None
                with trio.CancelScope(shield=True):
                    await _end(worker)
            await trio.sleep(_RESTART_PAUSE_S[min(failures, len(_RESTART_PAUSE_S) - 1)])
            failures += 1

    def _start(self, index: int) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            command = [sys.executable, "-m", "ssa_impl.daemon.worker"]
            arguments = [str(theirs.fileno()), str(index), str(len(self._workers)), str(self._runtime)]
            process = subprocess.Popen(
                [*command, *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **_MALLOC},
            )
        return _Worker(index, process, ours)

    async def _is_ready(self, worker: _Worker) -> bool:
        while True:
            try:
                return worker.dispatch.recv(MAX_POST_BYTES) == READY
            except BlockingIOError:
                await trio.lowlevel.wait_readable(worker.dispatch)
            except ConnectionError:
                return False


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


async def _end(worker: _Worker) -> None:
    """Close the dispatch socket, which a worker takes as its end; kill it if it does not end."""
    worker.dispatch.close()
    if worker.process.poll() is None:
        with trio.move_on_after(_GRACE_S):
            await _gone(worker.process)
        worker.process.kill()
        worker.process.wait()
