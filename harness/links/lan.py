"""An emulated local network, the paper's "local": two network namespaces, a veth pair, 1 Gbit/s both ways.

What makes it slow is a token bucket (TBF) on what leaves either end; its rate is read back from the kernel.  There
is no added delay: some 30 us idle, so a queue builds in the sender, as it does before a real network card.

Burst, 131 072 bytes (1 ms): the kernel hands TCP's data over in packets of up to 64 KiB (GSO).  A bucket that cannot
hold one makes the qdisc cut it up, at a price, and one that holds little more loses tokens whenever a busy machine
is late to look; one as large as a body is no limit at all.  Limit, 16 000 000 bytes: 100 senders may each have two
such packets waiting (TCP small queues); what a shorter queue drops comes again after a time-out, in somebody's tail.

Plain TCP, n connections of 1 MB at once, one epoll process at either end, on two cores; median in ms, segments sent
again per repetition, and packets dropped in all:

    =========  ==========  =====  =====  =====  ======  ===========  =======
    burst      limit       n = 1     10     50     100  again (100)  dropped
    =========  ==========  =====  =====  =====  ======  ===========  =======
    16 000     16 000 000   22.3  187.3  690.1  1361.4          224        0
    70 000     16 000 000    8.3   86.3  438.3   894.8          1.6        4
    131 072    1 000 000     7.8   83.7  458.7   846.2          2.1     9487
    131 072    16 000 000    7.9   83.5  429.4   845.5          0.4        8
    262 144    16 000 000    6.8   83.0  419.0   858.1          0.8        0
    1 000 000  16 000 000    1.6   76.8  413.1   837.5          1.4        0
    =========  ==========  =====  =====  =====  ======  ===========  =======

The rate counts Ethernet headers and not the 24 bytes of preamble, check sequence and gap that a cable also carries:
956 Mbit/s of payload, where real gigabit Ethernet has 941.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from harness.links import counters, idle, tcp, wire
from harness.links.interface import Counters, Link, LinkError, LinkUnavailableError, LinkUsageError
from harness.links.namespaces import argv_prefix, inside, namespace, sweep

BURST_BYTES = 131_072
LIMIT_BYTES = 16_000_000

CLIENT, SERVER = "client", "server"
ADDRESSES = {CLIENT: "10.205.0.1", SERVER: "10.205.0.2"}
PREFIX_LENGTH = 30
LARGEST_MBIT_S = 30_000  # a rate above 2^32 bytes per second has another netlink attribute


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
        if not 1 <= rate_mbit_s <= LARGEST_MBIT_S:
            raise LinkUsageError(f"A {self.kind} of {rate_mbit_s:g} Mbit/s cannot be made; 1 to {LARGEST_MBIT_S} can.")
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
        names = two_namespaces(stack)
        wire.connect(names[CLIENT], CLIENT, names[SERVER], SERVER)
        buckets = {role: inside(name, partial(self._shape, role)) for role, name in names.items()}
        interfaces = kept(stack, inside(names[SERVER], counters.open_interfaces))
        snmp = [kept(stack, inside(name, counters.open_snmp)) for name in names.values()]
        return _Opened(names, buckets, interfaces, snmp, idle_between(names))

    def _shape(self, role: str) -> wire.Bucket:
        wire.bring_up(role, ADDRESSES[role], PREFIX_LENGTH)
        wire.pin_routes(tcp.CONGESTION_CONTROL)
        return wire.shape(role, self._wanted)

    @property
    def _now(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the link is not open")
        return self._opened

    @property
    def server_address(self) -> str:
        return ADDRESSES[SERVER]

    @property
    def client_argv_prefix(self) -> tuple[str, ...]:
        return argv_prefix(self._now.namespaces[CLIENT])

    @property
    def server_argv_prefix(self) -> tuple[str, ...]:
        return argv_prefix(self._now.namespaces[SERVER])

    @property
    def rtt_idle_us(self) -> float:
        return self._now.idle.rtt_us

    def measure(self) -> float:
        now = self._now
        self._opened = replace(now, idle=idle_between(now.namespaces))
        require_same(now.namespaces, now.buckets)
        return self.rtt_idle_us

    def changed(self) -> str:
        return change_of(self._now.namespaces, self._now.buckets)

    def counters(self) -> Counters:
        return counters.read_counters(self._now.interfaces, SERVER, self._now.snmp)

    def describe(self) -> dict[str, object]:
        now = self._now
        return {
            "kind": self.kind,
            "emulated": self.emulated,
            "why": self.why,
            "fell_back": self.fell_back,
            "server_address": self.server_address,
            "rate_mbit_s": now.buckets[SERVER].rate_mbit_s,
            "rtt_ms": None,
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


def two_namespaces(stack: contextlib.ExitStack) -> dict[str, str]:
    """One for the clients, one for the server, their names by role; nothing lies between them yet."""
    names = {role: stack.enter_context(namespace(role)) for role in (CLIENT, SERVER)}
    for name in names.values():
        inside(name, tcp.forget_connections)
        inside(name, wire.raise_loopback)
    return names


def change_of(names: dict[str, str], buckets: dict[str, wire.Bucket]) -> str:
    """One sentence when the kernel's token buckets are not what they were; empty when they are."""
    for role, name in names.items():
        try:
            found = inside(name, partial(wire.read_bucket, role))
        except LinkUnavailableError as error:
            return f"The link has changed under way, at the {role}'s end: {error}"
        if found != buckets[role]:
            return f"The link has changed under way: the {role}'s token bucket was {buckets[role]} and is {found} now."
    return ""


def require_same(names: dict[str, str], buckets: dict[str, wire.Bucket]) -> None:
    """LinkError when the kernel's token buckets are not what they were."""
    if sentence := change_of(names, buckets):
        raise LinkError(sentence)


def kept(stack: contextlib.ExitStack, descriptor: int) -> int:
    """The descriptor, which is closed with the stack."""
    stack.callback(os.close, descriptor)
    return descriptor


def idle_between(names: dict[str, str]) -> idle.Idle:
    """What the idle link is like.  LinkError when nothing passes, LinkUnavailableError when cubic is not kept."""
    address = ADDRESSES[SERVER]
    with inside(names[SERVER], lambda: idle.listen(address)) as server:
        port = server.getsockname()[1]
        found = idle.both_ends(server, inside(names[CLIENT], lambda: idle.look(address, port)))
    if {found.client_congestion_control, found.server_congestion_control} != {tcp.CONGESTION_CONTROL}:
        raise LinkUnavailableError(f"The kernel does not keep TCP at {tcp.CONGESTION_CONTROL}: {found}.")
    return found
