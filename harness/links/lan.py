"""An emulated local network, the paper's "local": two network namespaces, a veth pair, 1 Gbit/s both ways.

The rate is that of the token buckets, on what leaves either end, and is read back from the kernel.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

from harness.links import counters, idle, tcp, wire
from harness.links.interface import Counters, Link, LinkUnavailableError, LinkUsageError
from harness.links.namespaces import argv_prefix, inside, namespace, sweep

BURST_BYTES = 131_072
LIMIT_BYTES = 16_000_000

_CLIENT, _SERVER = "client", "server"
_ADDRESSES = {_CLIENT: "10.205.0.1", _SERVER: "10.205.0.2"}
_PREFIX_LENGTH = 30
_LARGEST_MBIT_S = 30_000  # a rate above 2^32 bytes per second has another netlink attribute


@dataclass(frozen=True)
class _Opened:
    namespaces: dict[str, str]
    buckets: dict[str, wire.Bucket]
    interfaces: int
    snmp: list[int]
    idle: idle.Idle


class Lan(Link):
    """1 Gbit/s and some ten microseconds between two namespaces (``rate_mbit_s`` may be another)."""

    kind: ClassVar[str] = "lan"
    emulated: ClassVar[bool] = True

    def __init__(self, *, why: str, rate_mbit_s: float = 1000.0) -> None:
        super().__init__(why=why)
        if not 1 <= rate_mbit_s <= _LARGEST_MBIT_S:
            raise LinkUsageError(f"A lan of {rate_mbit_s:g} Mbit/s cannot be made; 1 to {_LARGEST_MBIT_S} can.")
        self._wanted = wire.Bucket(rate_mbit_s, BURST_BYTES, LIMIT_BYTES)
        self._opened: _Opened | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        sweep()
        with contextlib.ExitStack() as stack:
            self._opened = self._make(stack)
            try:
                yield self
            finally:
                self._opened = None

    def _make(self, stack: contextlib.ExitStack) -> _Opened:
        names = {role: stack.enter_context(namespace(role)) for role in (_CLIENT, _SERVER)}
        for name in names.values():
            inside(name, tcp.forget_connections)
            inside(name, wire.raise_loopback)
        wire.connect(names[_CLIENT], _CLIENT, names[_SERVER], _SERVER)
        buckets = {role: inside(name, partial(self._shape, role)) for role, name in names.items()}
        interfaces = _kept(stack, inside(names[_SERVER], counters.open_interfaces))
        snmp = [_kept(stack, inside(name, counters.open_snmp)) for name in names.values()]
        return _Opened(names, buckets, interfaces, snmp, _measure(names))

    def _shape(self, role: str) -> wire.Bucket:
        wire.bring_up(role, _ADDRESSES[role], _PREFIX_LENGTH)
        wire.pin_routes(tcp.CONGESTION_CONTROL)
        return wire.shape(role, self._wanted)

    @property
    def _now(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the link is not open")
        return self._opened

    @property
    def server_address(self) -> str:
        return _ADDRESSES[_SERVER]

    @property
    def client_argv_prefix(self) -> tuple[str, ...]:
        return argv_prefix(self._now.namespaces[_CLIENT])

    @property
    def server_argv_prefix(self) -> tuple[str, ...]:
        return argv_prefix(self._now.namespaces[_SERVER])

    @property
    def rtt_idle_us(self) -> float:
        return self._now.idle.rtt_us

    def counters(self) -> Counters:
        return counters.read_counters(self._now.interfaces, _SERVER, self._now.snmp)

    def describe(self) -> dict[str, object]:
        now = self._now
        return {
            "kind": self.kind,
            "emulated": self.emulated,
            "why": self.why,
            "fell_back": self.fell_back,
            "server_address": self.server_address,
            "rate_mbit_s": now.buckets[_SERVER].rate_mbit_s,
            "rtt_idle_us": self.rtt_idle_us,
            "congestion_control": {
                "client": now.idle.client_congestion_control,
                "server": now.idle.server_congestion_control,
            },
            "congestion_control_pinned": True,
            "qdisc": [bucket.as_dict(role) for role, bucket in now.buckets.items()],
            "namespaces": list(now.namespaces.values()),
            "mtu_bytes": wire.MTU_BYTES,
        }


def check() -> None:
    """Make a lan and take it away again.  LinkUnavailableError says what is missing."""
    with Lan(why="").open():
        pass


def _kept(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _measure(names: dict[str, str]) -> idle.Idle:
    address = _ADDRESSES[_SERVER]
    with inside(names[_SERVER], lambda: idle.listen(address)) as server:
        port = server.getsockname()[1]
        found = idle.both_ends(server, inside(names[_CLIENT], lambda: idle.look(address, port)))
    if {found.client_congestion_control, found.server_congestion_control} != {tcp.CONGESTION_CONTROL}:
        raise LinkUnavailableError(f"The kernel does not keep TCP at {tcp.CONGESTION_CONTROL}: {found}.")
    return found
