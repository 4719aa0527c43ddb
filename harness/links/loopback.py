"""The loopback interface: unshaped, so CPU-bound, the SSA's worst case.

Where namespaces can be had (root) it is the loopback of a private one: there the congestion control can be
pinned and TCP's memory of earlier connections switched off without touching the host, and nobody else's
traffic is counted. Elsewhere it is the host's own, as it is; ``describe`` says which, and
congestion_control_pinned is False.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Self, TypeVar

from harness.links import counters, idle, tcp, wire
from harness.links.interface import Counters, Link, LinkUnavailableError
from harness.links.namespaces import argv_prefix, inside, namespace, sweep

Result = TypeVar("Result")
_ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class _Opened:
    namespace: str | None  # None: the host's
    snmp: int
    idle: idle.Idle


class Loopback(Link):
    """One machine talking to itself.  The directions cannot be told apart, so no bytes are counted."""

    kind: ClassVar[str] = "loopback"
    emulated: ClassVar[bool] = False

    def __init__(self, *, why: str, fell_back: bool = False) -> None:
        super().__init__(why=why, fell_back=fell_back)
        self._opened: _Opened | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        sweep()
        with contextlib.ExitStack() as stack:
            name = _private(stack)
            snmp = _in(name, counters.open_snmp)
            stack.callback(os.close, snmp)
            self._opened = _Opened(name, snmp, _in(name, _measure))
            try:
                yield self
            finally:
                self._opened = None

    @property
    def _now(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the link is not open")
        return self._opened

    @property
    def server_address(self) -> str:
        return _ADDRESS

    @property
    def client_argv_prefix(self) -> tuple[str, ...]:
        return argv_prefix(self._now.namespace) if self._now.namespace else ()

    @property
    def server_argv_prefix(self) -> tuple[str, ...]:
        return self.client_argv_prefix

    @property
    def rtt_idle_us(self) -> float:
        return self._now.idle.rtt_us

    def measure(self) -> float:
        self._opened = replace(self._now, idle=_in(self._now.namespace, _measure))
        return self.rtt_idle_us

    def counters(self) -> Counters:
        return Counters(None, None, counters.read_retransmitted(self._now.snmp))

    def describe(self) -> dict[str, object]:
        now = self._now
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
                "client": now.idle.client_congestion_control,
                "server": now.idle.server_congestion_control,
            },
            "congestion_control_pinned": now.namespace is not None,
            "qdisc": [],
            "namespaces": [now.namespace] if now.namespace else [],
        }


def _private(stack: contextlib.ExitStack) -> str | None:
    """A namespace whose loopback is up; None where there cannot be one."""
    with contextlib.ExitStack() as attempt, contextlib.suppress(LinkUnavailableError):
        name = attempt.enter_context(namespace("loopback"))
        inside(name, tcp.forget_connections)
        inside(name, wire.raise_loopback)
        inside(name, lambda: wire.pin_routes(tcp.CONGESTION_CONTROL))
        stack.push(attempt.pop_all())
        return name
    return None


def _in(name: str | None, do: Callable[[], Result]) -> Result:
    return do() if name is None else inside(name, do)


def _measure() -> idle.Idle:
    with idle.listen(_ADDRESS) as server:
        return idle.both_ends(server, idle.look(_ADDRESS, server.getsockname()[1]))
