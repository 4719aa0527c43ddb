"""A real server on a host of the user's, put there over ssh for the time of a campaign (``--ssh``).

The server (``serving``) listens at the address that ssh came to, on a free port or the plan's ``remote_port``; the
clients connect to the host's name as ssh_config has it, directly and not through ssh.  Nothing is shaped; the network
is what it is.  Times are all of this machine, so the host's clock decides nothing; how far it is away is
measured before each block.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from harness.links import counters, idle, serving
from harness.links.interface import Counters, Link, LinkError
from harness.links.remote import resolved
from harness.links.serving import Clock, Served
from harness.links.ssh import Session
from webservers import ServerConfig


@dataclass(frozen=True)
class _Measured:
    idle: idle.ClientView
    clock: Clock


class Provisioned(Link):
    """The way to ``host``, where our own server runs after :meth:`serve`."""

    kind: ClassVar[str] = "remote"
    emulated: ClassVar[bool] = False

    def __init__(self, host: str, *, why: str, port: int = 0) -> None:
        super().__init__(why=why)
        self.host = host
        self._wanted_port = port
        self._session: Session | None = None
        self._address = ""
        self._snmp = -1
        self._what: tuple[str, ServerConfig] | None = None
        self._served: Served | None = None
        self._measured: _Measured | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        with contextlib.ExitStack() as stack:
            self._snmp = counters.open_snmp()
            stack.callback(os.close, self._snmp)
            stack.callback(self._end)
            self._begin()
            yield self

    def _begin(self) -> None:
        self._session = Session(self.host)
        self._address = resolved(self._session.hostname, self._wanted_port)

    def _end(self) -> None:
        self._served = self._measured = None
        if self._session is not None:
            self._session.close()
            self._session = None

    def serve(self, kind: str, config: ServerConfig) -> str:
        """Start a server with the files of ``config`` there and look at the idle link; returns the server's kind.

        LinkUnavailableError when the host lacks what is needed, LinkError when it does not work.
        """
        self._what = (kind, config)
        self._served = serving.start(self._open, kind, config, self._wanted_port)
        try:
            self.measure()
        except LinkError as error:
            raise LinkError(
                f"{error} The server runs on {self.host}, so a firewall may be between;"
                " open a port in it and name that one: --set remote_port=PORT."
            ) from error
        return self._served.found.kind

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError("the link is not open")
        return self._session

    @property
    def _now(self) -> Served:
        if self._served is None:
            raise RuntimeError("the link is not open, or nothing is served on it")
        return self._served

    @property
    def _seen(self) -> _Measured:
        if self._measured is None:
            raise RuntimeError("the link is not open, or nothing is served on it")
        return self._measured

    @property
    def server_address(self) -> str:
        return self._address

    @property
    def server_port(self) -> int | None:
        return self._now.port

    @property
    def client_argv_prefix(self) -> tuple[str, ...]:
        return ()

    @property
    def server_argv_prefix(self) -> tuple[str, ...]:
        return ()

    @property
    def rtt_idle_us(self) -> float:
        return self._seen.idle.rtt_us

    @property
    def watched_pid(self) -> int | None:
        return self._open.pid

    def measure(self) -> float:
        self._measured = _Measured(idle.look(self._address, self._now.port), serving.look_at_clock(self._open))
        return self.rtt_idle_us

    def lost(self) -> str:
        return self._open.lost()

    def restore(self) -> None:
        """Everything anew, when ssh or the server there has ended."""
        if self._session is not None and not self.lost():
            return
        assert self._what is not None
        self._end()
        self._begin()
        self.serve(*self._what)

    def counters(self) -> Counters:
        return Counters(None, None, counters.read_retransmitted(self._snmp))

    def describe(self) -> dict[str, object]:
        clock, session = self._seen.clock, self._open
        return {
            "kind": self.kind,
            "emulated": self.emulated,
            "why": self.why,
            "fell_back": self.fell_back,
            "server_address": self.server_address,
            "rate_mbit_s": None,
            "rtt_ms": None,
            "rtt_idle_us": self.rtt_idle_us,
            "congestion_control": {
                "client": self._seen.idle.congestion_control,
                "server": session.hello["congestion_control"],
            },
            "congestion_control_pinned": False,
            "qdisc": [],
            "ssh": self.host,
            "host": serving.host_of(session.hello),
            "clock_offset_ns": clock.offset_ns,
            "clock_uncertainty_ns": clock.uncertainty_ns,
            "server": self._now.describe(),
        }
