"""The parent's side: it keeps the keeper alive, tells it which keys the policy names, and connects workers to it.

The parent knows names and paths; the keys themselves go from the keeper to the workers and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
from collections.abc import Awaitable, Callable, Mapping

import trio

from ..control.channel import prepare
from ..hardening.children import start_module
from ..policy.model import NamedKey
from .messages import Order, encode_commit, encode_keys

_log = logging.getLogger("ssad")
_MAX_REPLY_BYTES = 200_000
_PATIENCE_S = 30.0
"""how long reading all key files may take (a file system that hangs)"""
_GRACE_S = 5.0
_RESTART_PAUSE_S = (0.0, 0.1, 0.5, 1.0, 5.0)


class KeyKeeper:
    """The keeper as the parent sees it; nothing runs until the policy has a key."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._turn = trio.Lock()
        self._wanted = trio.Event()
        self._loading: Mapping[str, NamedKey] = {}
        self._keys: Mapping[str, NamedKey] = {}
        self._generation = 0

    @property
    def pid(self) -> int:
        """The keeper's process, 0 for none."""
        return self._process.pid if self._process is not None else 0

    # -- what it knows

    async def load(self, keys: Mapping[str, NamedKey]) -> list[str]:
        """Let the keeper read all files; return its complaints.  Nothing changes until :meth:`commit`."""
        self._loading = keys
        if not keys and self._process is None:
            return []
        async with self._turn:
            if self._process is None:
                self._start()
            complaints = await self._loaded(keys)
        return ["the keeper of the keys does not answer"] if complaints is None else complaints

    async def commit(self) -> None:
        """Let what was loaded hold from now on; workers hear of it from the keeper."""
        self._keys = self._loading
        if self._process is None:
            return
        self._generation += 1
        async with self._turn:
            await self._order(encode_commit(self._generation))
        self._wanted.set()

    def link(self) -> socket.socket | None:
        """Return a worker's end of a socket to the keeper, None when there is no keeper now."""
        if self._control is None:
            return None
        ours, workers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            try:
                socket.send_fds(self._control, [Order.LINK.value], [ours.fileno()], socket.MSG_NOSIGNAL)
            except OSError:  # it has ended: the next one brings a relink
                workers.close()
                return None
        return workers

    async def _loaded(self, keys: Mapping[str, NamedKey]) -> list[str] | None:
        file = os.memfd_create("keys", os.MFD_CLOEXEC)
        try:
            os.write(file, encode_keys(keys.values()))
            return await self._order(Order.LOAD.value, file)
        finally:
            os.close(file)

    async def _order(self, message: bytes, *descriptors: int) -> list[str] | None:
        """Give an order and return the complaints; None when the keeper has ended or hangs, which ends it."""
        control, process = self._control, self._process
        if control is None:
            return None
        try:
            socket.send_fds(control, [message], list(descriptors), socket.MSG_NOSIGNAL)
            with trio.fail_after(_PATIENCE_S):
                await trio.lowlevel.wait_readable(control)
            complaints: list[str] = json.loads(control.recv(_MAX_REPLY_BYTES))
        except (OSError, trio.TooSlowError, trio.ClosedResourceError, ValueError):
            if process is not None:
                process.kill()
            return None
        return complaints

    # -- the process

    async def run(self, relink: Callable[[], Awaitable[None]]) -> None:
        """Once there is something to keep, keep a keeper alive until cancelled.

        ``relink`` gives every worker a new :meth:`link`: the first keeper has started, or another one.
        """
        failures = 0
        await self._wanted.wait()
        while True:
            await relink()
            assert self._process is not None
            await _gone(self._process)
            _log.error("the keeper of the keys ended with %s; starting another", self._process.returncode)
            async with self._turn:
                self._hang_up()
                await trio.sleep(_RESTART_PAUSE_S[min(failures, len(_RESTART_PAUSE_S) - 1)])
                failures = 0 if await self._restart() else failures + 1

    async def _restart(self) -> bool:
        """Start another keeper with the policy's keys; what it cannot read now is said and missing."""
        self._start()
        complaints = await self._loaded(self._keys)
        for complaint in complaints or []:
            _log.error("%s", complaint)
        return complaints is not None and await self._order(encode_commit(self._generation)) is not None

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            prepare(ours)
            self._process = start_module("ssa_impl.keys.keeper", [theirs.fileno()])
        self._control = ours

    def _hang_up(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    def close(self) -> None:
        """Hang up, which a keeper takes as its end; kill it if it does not end."""
        self._hang_up()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _gone(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with contextlib.ExitStack() as stack:
        descriptor = os.pidfd_open(process.pid)
        stack.callback(os.close, descriptor)
        await trio.lowlevel.wait_readable(descriptor)
    process.wait()
