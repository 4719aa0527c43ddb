"""All parties of a campaign together.

Started, watched, replaced when one is lost, stopped.  All of it under trio.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from harness.clients.target import Target
from harness.errors import CannotError, HarnessError, PartyLostError
from harness.links import Link, LinkError
from harness.parties import Daemon, Fleet
from harness.plan import Plan
from harness.records import Stack
from harness.routes import Route
from webservers import (
    NotAvailableError,
    ServerConfig,
    ServerDiedError,
    WebServer,
    WebServerError,
    make,
)


@dataclass(frozen=True)
class File:
    """What is downloaded."""

    path: str  # in the URL
    server_name: str
    port: int | None  # None: the port of the server that the harness starts
    ca_file: Path
    size_bytes: int
    sha256: str | None  # None: not known before the first download (remote)


class Ensemble:
    """The server (None: a remote one), the daemon (None: no SSA in the plan) and one fleet for each route."""

    def __init__(
        self, plan: Plan, link: Link, directory: Path, file: File, server: tuple[str, ServerConfig] | None
    ) -> None:
        self._plan = plan
        self._link = link
        self._directory = directory
        self._server_config = server
        self.file = file
        self.server: WebServer | None = None
        self.daemon: Daemon | None = None
        self.fleets: dict[Route, Fleet] = {}

    @property
    def routes(self) -> Sequence[Route]:
        """Each route once, baseline first."""
        return self._plan.routes

    def _routes_of(self, stack: Stack) -> Sequence[Route]:
        return [route for route in self.routes if route.stack is stack]

    @property
    def target(self) -> Target:
        """What the clients are told now (a server that was replaced may have another port)."""
        port = self.server.port if self.server is not None else self._link.server_port or self.file.port
        assert port is not None
        return Target(
            address=self._link.server_address,
            port=port,
            server_name=self.file.server_name,
            path=self.file.path,
            ca_file=str(self.file.ca_file),
            size_bytes=self.file.size_bytes,
            read_size_bytes=self._plan.read_size_bytes,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Ensemble]:
        """Start everybody; at the end nobody is left, whatever happened."""
        try:
            await self.replace_lost()
            yield self
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    async def replace_lost(self) -> None:
        """Start whoever is not there or not in step.  HarnessError when that cannot be done."""
        failures: list[HarnessError] = []
        await self._restore_link()
        async with trio.open_nursery() as nursery:

            async def carefully(replace: Callable[[], Awaitable[None]]) -> None:
                try:
                    await replace()
                except HarnessError as error:  # to be raised as it is, not in a nursery's group
                    failures.append(error)
                    nursery.cancel_scope.cancel()

            for replace in (self._replace_server, self._replace_ssa, self._replace_openssl):
                nursery.start_soon(carefully, replace)
        if failures:
            raise failures[0]

    async def _restore_link(self) -> None:
        try:
            await trio.to_thread.run_sync(self._link.restore)
        except LinkError as error:
            raise HarnessError(str(error)) from error

    async def _replace_server(self) -> None:
        if self._server_config is not None and not (self.server is not None and self.server.alive):
            await self._start_server(*self._server_config)

    async def _replace_ssa(self) -> None:
        routes = self._routes_of(Stack.SSA)
        if routes and not (self.daemon is not None and self.daemon.alive):
            await self._start_daemon()
        for route in routes:
            await self._replace_fleet(route)

    async def _replace_openssl(self) -> None:
        for route in self._routes_of(Stack.OPENSSL):
            await self._replace_fleet(route)

    async def _replace_fleet(self, route: Route) -> None:
        fleet = self.fleets.get(route)
        if fleet is None or not (fleet.alive and fleet.idle):
            await self._start_fleet(route)

    async def _start_server(self, kind: str, config: ServerConfig) -> None:
        if self.server is not None:
            await self.server.stop()
        try:
            self.server = make(kind, config)
            await self.server.start()
        except NotAvailableError as error:
            raise CannotError(str(error)) from error
        except WebServerError as error:
            raise HarnessError(str(error)) from error

    async def _start_daemon(self) -> None:
        for route in self._routes_of(Stack.SSA):
            fleet = self.fleets.pop(route, None)
            if fleet is not None:
                await fleet.stop()
        if self.daemon is not None:
            await self.daemon.stop()
        workers = self._plan.workers or len(os.sched_getaffinity(0))
        self.daemon = Daemon(self._directory, workers, self._link.client_argv_prefix)
        await self.daemon.start()

    async def _start_fleet(self, route: Route) -> None:
        old = self.fleets.pop(route, None)
        if old is not None:
            await old.stop()
        socket = self.daemon.socket if route.stack is Stack.SSA and self.daemon is not None else None
        log = self._directory / f"fleet-{route.name}.log"
        self.fleets[route] = Fleet(route, log, self._link.client_argv_prefix, socket)
        await self.fleets[route].start()

    async def _stop(self) -> None:
        for fleet in self.fleets.values():
            await fleet.stop()
        if self.daemon is not None:
            await self.daemon.stop()
        if self.server is not None:
            await self.server.stop()

    @asynccontextmanager
    async def watched(self, route: Route) -> AsyncIterator[None]:
        """Cancel the body, and raise PartyLostError, when a party that it needs ends."""
        lost: list[str] = []
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def watch(party: Fleet | Daemon) -> None:
                lost.append(await party.watch())
                nursery.cancel_scope.cancel()

            async def watch_server(server: WebServer) -> None:
                try:
                    await server.watch()
                except ServerDiedError as error:
                    lost.append(str(error))
                    nursery.cancel_scope.cancel()

            async def watch_link(pid: int) -> None:
                lost.append(await _watch_link(self._link, pid))
                nursery.cancel_scope.cancel()

            if self._link.watched_pid is not None:
                nursery.start_soon(watch_link, self._link.watched_pid)
            nursery.start_soon(watch, self.fleets[route])
            if route.stack is Stack.SSA and self.daemon is not None:
                nursery.start_soon(watch, self.daemon)
            if self.server is not None:
                nursery.start_soon(watch_server, self.server)
            try:
                yield
            except Exception as error:  # to be raised as it is, not in a nursery's group
                failures.append(error)
            nursery.cancel_scope.cancel()
        if lost:
            raise PartyLostError(lost[0])
        if failures:
            raise failures[0]


async def _watch_link(link: Link, pid: int) -> str:
    """Wait until the link's own process ends, and say so in one sentence."""
    descriptor = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    return link.lost()
