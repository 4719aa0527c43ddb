"""A real server that the user names.  Nothing is shaped, nothing is started; the network is what it is."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self
from urllib.parse import urlsplit

from harness.links import counters, idle
from harness.links.interface import Counters, Link, LinkError, LinkUsageError


@dataclass(frozen=True)
class Target:
    """The parts of a URL that clients need."""

    host: str
    port: int
    path: str  # with the query, begins with a slash


def target_of(url: str) -> Target:
    """Read ``https://host[:port]/path``.  LinkUsageError when it is something else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise LinkUsageError(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme != "https" or not host:
        raise LinkUsageError(f"{url!r} is not a URL of the form https://host[:port]/path.")
    if parts.username is not None or parts.password is not None or not url.isprintable() or " " in url:
        raise LinkUsageError(f"{url!r} must have no user name, no space and no control character.")
    if port == 0:
        raise LinkUsageError(f"{url!r} has port 0.")
    query = f"?{parts.query}" if parts.query else ""
    return Target(host, port or 443, (parts.path or "/") + query)


@dataclass(frozen=True)
class _Opened:
    address: str
    snmp: int
    idle: idle.ClientView


class Remote(Link):
    """The way to ``url``.  Retransmitted segments are the whole host's."""

    kind: ClassVar[str] = "remote"
    emulated: ClassVar[bool] = False

    def __init__(self, url: str, *, why: str) -> None:
        super().__init__(why=why)
        self.url = url
        self.target = target_of(url)
        self._opened: _Opened | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        address = resolved(self.target.host, self.target.port)
        view = idle.look(address, self.target.port)
        snmp = counters.open_snmp()
        try:
            self._opened = _Opened(address, snmp, view)
            yield self
        finally:
            self._opened = None
            os.close(snmp)

    @property
    def _now(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the link is not open")
        return self._opened

    @property
    def server_address(self) -> str:
        return self._now.address

    @property
    def client_argv_prefix(self) -> tuple[str, ...]:
        return ()

    @property
    def server_argv_prefix(self) -> tuple[str, ...]:
        return ()

    @property
    def rtt_idle_us(self) -> float:
        return self._now.idle.rtt_us

    def measure(self) -> float:
        now = self._now
        self._opened = replace(now, idle=idle.look(now.address, self.target.port))
        return self.rtt_idle_us

    def counters(self) -> Counters:
        return Counters(None, None, counters.read_retransmitted(self._now.snmp))

    def describe(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "emulated": self.emulated,
            "why": self.why,
            "fell_back": self.fell_back,
            "server_address": self.server_address,
            "rate_mbit_s": None,
            "rtt_ms": None,
            "rtt_idle_us": self.rtt_idle_us,
            "congestion_control": {"client": self._now.idle.congestion_control, "server": None},
            "congestion_control_pinned": False,
            "qdisc": [],
            "url": self.url,
        }


def resolved(host: str, port: int) -> str:
    """The first address, which every client will use.  LinkError when there is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LinkError(f"The host {host!r} cannot be resolved: {error}.") from error
    return str(found[0][4][0])
