"""All parties of a campaign together.

Started, watched, replaced when one is lost, stopped.  All of it under trio.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

import trio

from harness.clients.native import built
from harness.clients.target import Target
from harness.errors import CannotError, HarnessError, PartyLostError
from harness.links import Link, LinkError
from harness.parties import Daemon, Fleet, Party, Proxy
from harness.plan import Plan
from harness.proxies.kinds import Settings
from harness.records import Profile, Stack
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
    """The server (None: a remote one), what does TLS for the clients, and one fleet for each route.

    With plain HTTP in the plan there is a second server of the same kind that does no TLS; the daemon is None
    where no stack is the SSA, and there is one proxy for each stack that is one.
    """

    def __init__(
        self,
        plan: Plan,
        link: Link,
        directory: Path,
        file: File,
        server: tuple[str, ServerConfig] | None,
        *,
        profile: Profile = Profile.SOUND,
        policy: Path | None = None,
    ) -> None:
        self._profile = profile
        self._policy = policy
        self._plan = plan
        self._link = link
        self._directory = directory
        self._server_config = server
        self.file = file
        self.server: WebServer | None = None
        self.plain_server: WebServer | None = None
        self.daemon: Daemon | None = None
        self.proxies: dict[Stack, Proxy] = {}
        self.fleets: dict[Route, Fleet] = {}
        self._known: frozenset[int] = frozenset()

    @property
    def routes(self) -> Sequence[Route]:
        """Each route once, baseline first."""
        return self._plan.routes

    def server_of(self, route: Route) -> WebServer | None:
        """Which server its clients download from."""
        return self.plain_server if route.stack is Stack.PLAIN else self.server

    def tls_of(self, route: Route) -> Daemon | Proxy | None:
        """Who does the TLS for its clients; None when they do it themselves, or there is none."""
        return self.daemon if route.stack.is_ssa else self.proxies.get(route.stack)

    def target_of(self, route: Route) -> Target:
        """What its clients are told now (a server or proxy that was replaced may have another port)."""
        server, proxy = self.server_of(route), self.proxies.get(route.stack)
        port = server.port if server is not None else self._link.server_port or self.file.port
        assert port is not None
        return Target(
            address=self._link.server_address,
            port=port,
            server_name=self.file.server_name,
            path=self.file.path,
            ca_file=str(self.file.ca_file),
            size_bytes=self.file.size_bytes,
            read_size_bytes=self._plan.read_size(self._profile),
            profile=self._profile.value,
            proxy_port=proxy.port if proxy is not None else 0,
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

    async def replace_lost(self) -> bool:
        """Start whoever is not there, not whole or not in step; whether anybody is new since the last time.

        New are also the workers that a server has itself put in the place of others.  HarnessError when somebody cannot
        be started.
        """
        await self._restore_link()
        await self._together(self._replace_server, self._replace_plain_server, self._replace_ssa, self._replace_others)
        await self._together(*(partial(self._replace_proxy, stack) for stack in self._stacks if stack.is_proxy))
        before, self._known = self._known, self._everybody()
        return not self._known <= before

    def _everybody(self) -> frozenset[int]:
        """The processes of all parties, and the link's."""
        servers = [server.pids() for server in (self.server, self.plain_server) if server is not None]
        tls = [party.pids for party in (self.daemon, *self.proxies.values()) if party is not None]
        fleets = [fleet.pid for fleet in self.fleets.values()]
        link = [pid for pid in (self._link.watched_pid,) if pid is not None]
        return frozenset(chain(*servers, *tls, fleets, link))

    @property
    def _stacks(self) -> Sequence[Stack]:
        return list(dict.fromkeys(route.stack for route in self.routes))

    async def _together(self, *replacements: Callable[[], Awaitable[None]]) -> None:
        """All at once; the first error of ours as it is, not in a nursery's group."""
        failures: list[HarnessError] = []
        async with trio.open_nursery() as nursery:

            async def carefully(replace: Callable[[], Awaitable[None]]) -> None:
                try:
                    await replace()
                except HarnessError as error:
                    failures.append(error)
                    nursery.cancel_scope.cancel()

            for one in replacements:
                nursery.start_soon(carefully, one)
        if failures:
            raise failures[0]

    async def _restore_link(self) -> None:
        try:
            await trio.to_thread.run_sync(self._link.restore)
        except LinkError as error:
            raise HarnessError(str(error)) from error

    async def _replace_server(self) -> None:
        if self._server_config is not None and not (self.server is not None and self.server.alive):
            self.server = await self._started(self.server, *self._server_config)

    async def _replace_plain_server(self) -> None:
        needed = Stack.PLAIN in self._stacks and self._server_config is not None
        if needed and not (self.plain_server is not None and self.plain_server.alive):
            assert self._server_config is not None
            kind, config = self._server_config
            plain = replace(config, secure=False, run_directory=self._directory / f"{kind}-plain")
            self.plain_server = await self._started(self.plain_server, kind, plain)

    async def _replace_ssa(self) -> None:
        routes = [route for route in self.routes if route.stack.is_ssa]
        if routes and not (self.daemon is not None and self.daemon.intact):
            await self._start_daemon(routes)
        for route in routes:
            await self._replace_fleet(route)

    async def _replace_others(self) -> None:
        for route in self.routes:
            if not route.stack.is_ssa:
                await self._replace_fleet(route)

    async def _replace_proxy(self, stack: Stack) -> None:
        """A proxy is told the server's port when it starts, so it goes with the server."""
        target, old = self.target_of(Route(stack)), self.proxies.get(stack)
        if old is not None and old.alive and old.idle and old.server_port == target.port:
            return
        if old is not None:
            await old.stop()
        settings = Settings(
            address=target.address,
            port=target.port,
            server_name=target.server_name,
            ca_file=target.ca_file,
            threads=self._workers,
            directory=str(self._directory / stack.value),
        )
        proxy = Proxy(stack, settings, self._link.client_argv_prefix)
        self.proxies[stack] = proxy
        await proxy.start()

    async def _replace_fleet(self, route: Route) -> None:
        fleet = self.fleets.get(route)
        if fleet is None or not (fleet.alive and fleet.idle):
            await self._start_fleet(route)

    async def _started(self, old: WebServer | None, kind: str, config: ServerConfig) -> WebServer:
        if old is not None:
            await old.stop()
        try:
            server = make(kind, config)
            await server.start()
        except NotAvailableError as error:
            raise CannotError(str(error)) from error
        except WebServerError as error:
            raise HarnessError(str(error)) from error
        return server

    @property
    def _workers(self) -> int:
        return self._plan.workers or len(os.sched_getaffinity(0))

    async def _start_daemon(self, routes: Sequence[Route]) -> None:
        for route in routes:
            fleet = self.fleets.pop(route, None)
            if fleet is not None:
                await fleet.stop()
        if self.daemon is not None:
            await self.daemon.stop()
        self.daemon = Daemon(self._directory, self._workers, self._link.client_argv_prefix, self._policy)
        await self.daemon.start()

    async def _start_fleet(self, route: Route) -> None:
        old = self.fleets.pop(route, None)
        if old is not None:
            await old.stop()
        socket = self.daemon.socket if route.stack.is_ssa and self.daemon is not None else None
        program = await trio.to_thread.run_sync(built, route.stack) if route.stack.is_c else None
        log = self._directory / f"fleet-{route.name}.log"
        self.fleets[route] = Fleet(route, log, self._link.client_argv_prefix, socket, program)
        await self.fleets[route].start()

    async def _stop(self) -> None:
        for party in (*self.fleets.values(), *self.proxies.values(), self.daemon, self.server, self.plain_server):
            if party is not None:
                await party.stop()

    @asynccontextmanager
    async def watched(self, route: Route) -> AsyncIterator[None]:
        """Cancel the body, and raise PartyLostError, when a party that it needs ends."""
        lost: list[str] = []
        failures: list[Exception] = []
        async with trio.open_nursery() as nursery:

            async def watch(party: Party) -> None:
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
            if (tls := self.tls_of(route)) is not None:
                nursery.start_soon(watch, tls)
            if (server := self.server_of(route)) is not None:
                nursery.start_soon(watch_server, server)
            try:
                yield
            except Exception as error:  # to be raised as it is, not in a nursery's group
                failures.append(error)
            nursery.cancel_scope.cancel()
        if not lost and (sentence := self._link.lost()):  # clients may fail before its end is seen
            lost.append(sentence)
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
