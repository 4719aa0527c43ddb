"""The parent of the workers: it listens, and hands each new secure socket to the next worker (``fleet``).

It never reads from a channel: a channel is passed on as soon as it is accepted, one after the other to each worker, so
that the sockets of one application spread over all of them.

Its own life: SIGHUP loads the policy again.  The first SIGTERM or SIGINT takes no new sockets and lets the connections
that exist run on for the time the policy gives them, which may be none; a second one ends everything now.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import trio
from OpenSSL import SSL

from .. import __version__
from ..hardening.kernel import CannotHarden
from ..hardening.process import check, harden_parent, is_traceable
from ..policy.policy import Policy
from . import notify
from .administering import administer
from .fleet import Fleet
from .mail import Ask
from .places import CannotStart, listening, private_directory
from .reloading import PolicyRefused, Reloader

__all__ = ["CannotStart", "Parent", "PolicyRefused"]

_log = logging.getLogger("ssad")
_PINGS_PER_WATCH = 4
"""how often the workers are asked within the time that the service manager waits for us"""


class Parent:
    """Listener and workers of one daemon."""

    def __init__(
        self,
        path: Path,
        worker_count: int,
        load: Callable[[], Policy] = Policy,
        *,
        mode: int = 0o600,
        drain_timeout_s: float | None = None,
    ) -> None:
        """``load`` reads the policy, and raises PolicyRefused; ``mode`` is the socket's; None: the policy's time."""
        self.reloader = Reloader(load)
        self.draining = False
        self._path = path
        self._worker_count = worker_count
        self._mode = mode
        self._drain_timeout_s = drain_timeout_s
        self._scope = trio.CancelScope()
        self._open = trio.CancelScope()
        self._start_failure = ""
        self._fleet: Fleet | None = None

    @property
    def fleet(self) -> Fleet:
        """The workers; there are none before the policy has been read."""
        assert self._fleet is not None
        return self._fleet

    @property
    def path(self) -> Path:
        """Where boundaries reach the daemon."""
        return self._path

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; everything is gone afterwards.  Raises CannotStart, PolicyRefused."""
        try:
            watch_s = notify.watchdog_s()
        except ValueError:
            raise CannotStart("WATCHDOG_USEC of the environment is no number of microseconds") from None
        with (
            trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
            contextlib.closing(self.reloader.keys),
        ):
            try:
                harden_parent(traceable=is_traceable())  # before there is a thread that would keep everything
                policy = await self.reloader.first()
                check(require_landlock=policy.daemon.require_landlock)
            except CannotHarden as why:
                raise CannotStart(str(why)) from None
            with contextlib.ExitStack() as places:
                given = self._take_given(places)
                runtime = places.enter_context(private_directory(self._path))
                opened = places.enter_context(contextlib.ExitStack())
                listener = given or opened.enter_context(listening(self._path, self._mode))
                self._fleet = Fleet(runtime, self._worker_count, policy, self._give_up, self.reloader.keys)
                places.callback(self._fleet.close)
                async with trio.open_nursery() as nursery:
                    self._scope = nursery.cancel_scope
                    nursery.start_soon(self._obey, signals, nursery)
                    nursery.start_soon(self.reloader.keys.run, self._fleet.link_keys)
                    await self._fleet.run(nursery)
                    await self._start_administration(nursery)
                    self._announce()
                    nursery.start_soon(self._feed_watchdog, watch_s)
                    with self._open:
                        await self._hand_out(listener)
                    opened.close()  # boundaries find nobody from now on
        if self._start_failure:
            raise CannotStart(self._start_failure)

    async def _start_administration(self, nursery: trio.Nursery) -> None:
        try:
            await nursery.start(administer, self, nursery)
        except OSError as error:
            raise CannotStart(f"cannot listen beside {self._path}: {error.strerror}") from None

    def _take_given(self, places: contextlib.ExitStack) -> socket.socket | None:
        """Return the service manager's listener, where it has given one, and be where that is."""
        try:
            given = notify.listener_given()
        except OSError as error:
            raise CannotStart(f"socket activation: {error.strerror}") from None
        if given is not None:
            self._path = Path(places.enter_context(given).getsockname())
        return given

    def _give_up(self, why: str) -> None:
        self._start_failure = why
        self._scope.cancel()

    def _announce(self) -> None:
        ready = {
            "ready": True,
            "pid": os.getpid(),
            "workers": [worker.process.pid for worker in self.fleet.alive],
            "socket": str(self._path),
            "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
            "version": __version__,
            "hardening": self.fleet.alive[0].hardening.describe(),
        }
        try:
            os.write(1, f"{json.dumps(ready)}\n".encode())
        except OSError as error:
            self._give_up(f"cannot say on standard output that it is ready: {error.strerror}")
        else:
            notify.notify("READY=1")

    # -- signals

    async def _obey(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                nursery.start_soon(self._reload_quietly)
            elif self.draining or not self.begin_to_drain(nursery):
                break
        notify.notify("STOPPING=1")
        self._scope.cancel()

    async def _reload_quietly(self) -> None:
        with contextlib.suppress(PolicyRefused):  # the log says why
            await self.reloader.reload(self.fleet)

    def begin_to_drain(self, nursery: trio.Nursery, patience_s: float | None = None) -> bool:
        """Take no new sockets, and end with the last connection, or when time is up; False when there is no time."""
        if patience_s is None:
            patience_s = self._drain_timeout_s
        if patience_s is None:
            patience_s = self.fleet.policy.daemon.drain_timeout_s
        if patience_s <= 0:
            return False
        if not self.draining:
            self.draining = self.fleet.closing = True
            notify.notify("STOPPING=1")
            self._open.cancel()
            nursery.start_soon(self._drain, patience_s)
        return True

    async def _drain(self, patience_s: float) -> None:
        limit = "as long as they last" if math.isinf(patience_s) else f"{patience_s:g} s"
        _log.info("no new sockets; open connections may go on for %s", limit)
        await self.fleet.ask_all(Ask.DRAIN, patience_s=patience_s)
        self._scope.cancel()

    async def _feed_watchdog(self, watch_s: float) -> None:
        """Tell the service manager that we live as long as every worker answers."""
        if not watch_s:
            return
        while True:
            await trio.sleep(watch_s / _PINGS_PER_WATCH)
            answers = await self.fleet.ask_all(Ask.PING, patience_s=watch_s / _PINGS_PER_WATCH, whom=self.fleet.alive)
            if len(answers) == self._worker_count:
                notify.notify("WATCHDOG=1")
            else:
                _log.error("%d of %d workers answer", len(answers), self._worker_count)

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
                    await self.fleet.pass_on(channel)
