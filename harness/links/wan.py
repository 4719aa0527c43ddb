"""An emulated wide-area link: a lan whose packets are on their way for 20 ms, so 40 ms there and back.

What delays them (``delays``) is the kernel's netem where it has it, on a veth pair as a lan's.  Where not, what lies
between the namespaces is a TUN device in each, and one process that hands over what comes out of the one to the other,
later (``emulator``).  The rate is the lan's token bucket on what leaves either end, so queues build where they do on
a lan, in the sender; the emulator holds only what is on its way.  TCP runs from end to end: no proxy, no sleeping
server, which would end it half-way and be no WAN.  The two are not one link: what is measured over them shares no fit.

Large packets.  Time goes with packets, not with bytes, and the kernel makes them small: over 40 ms, TCP hands over
a millisecond's worth of each connection's rate, two segments of a hundred connections' (the token bucket is not
what splits them).  So TCP is told to fill its packets, as it does on the lan unasked (``tcp.send_large_packets``).

Plain TCP over the TUN devices, n connections of 1 MB at once at 1 Gbit/s over 40 ms, on two cores that others used as
well; median in ms, the emulator's CPU seconds per GB, and how many of all packets came more than 1 and 5 ms late at
n = 100:

    ========  ==================  =======  =======  ======  =======  =======
    loop      segments (at least)   n = 1      100  CPU/GB   > 1 ms   > 5 ms
    ========  ==================  =======  =======  ======  =======  =======
    C         2 (the kernel's)        327     1222     9.5     77 %     55 %
    Python    2                       367     1342    11.6     86 %     56 %
    C         16                      325      985     4.8     11 %      2 %
    Python    16                      329      971     5.0      8 %      2 %
    C         44                      324      963     2.7    0.6 %        0
    Python    44                      n/a      955     3.0      3 %        0
    ========  ==================  =======  =======  ======  =======  =======

A loop in C is a little more punctual, and not worth a compiler.  Two thirds of the CPU time is the receiving end's
TCP, which runs in the system call that delivers.

The rate counts IP packets (over veth, their Ethernet headers as well), and not all the 38 bytes that Ethernet puts
around each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

from harness.links import counters, delays, idle, lan, tcp, tun, wire
from harness.links.delays import Choice, Delay
from harness.links.interface import Counters, Link, LinkError, LinkUnavailableError, LinkUsageError
from harness.links.lan import ADDRESSES, BURST_BYTES, CLIENT, LARGEST_MBIT_S, SERVER
from harness.links.namespaces import argv_prefix, inside, sweep

RTT_MS = 40.0
LIMIT_BYTES = 256_000_000
"""Of the token bucket's queue: a thousand senders may each have two packets of 64 KiB waiting."""

_LARGEST_MS = 2000.0
_TOO_SLOW, _PATIENCE_MS = 1.5, 20.0  # so many times the RTT that was set, and so much more: not this link


@dataclass(frozen=True)
class _Opened:
    namespaces: dict[str, str]
    segments: int
    interfaces: dict[str, int]
    snmp: list[int]
    idle: idle.Idle


class Wan(Link):
    """40 ms and 1 Gbit/s between two namespaces (``rtt_ms``, ``rate_mbit_s`` may be others)."""

    kind: ClassVar[str] = "wan"
    emulated: ClassVar[bool] = True

    def __init__(
        self, *, why: str, rate_mbit_s: float = 1000.0, rtt_ms: float = RTT_MS, emulator: Choice = "auto"
    ) -> None:
        super().__init__(why=why)
        if not 1 <= rate_mbit_s <= LARGEST_MBIT_S:
            raise LinkUsageError(f"A wan of {rate_mbit_s:g} Mbit/s cannot be made; 1 to {LARGEST_MBIT_S} can.")
        if not 1 <= rtt_ms <= _LARGEST_MS:
            raise LinkUsageError(f"A wan of {rtt_ms:g} ms cannot be made; 1 to {_LARGEST_MS:g} can.")
        self._wanted = wire.Bucket(rate_mbit_s, BURST_BYTES, LIMIT_BYTES)
        self._rtt_ms = rtt_ms
        self._asked, self._choice = why, emulator
        self._delay: Delay | None = None
        self._opened: _Opened | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Self]:
        sweep()
        with contextlib.ExitStack() as stack:
            names = lan.two_namespaces(stack)
            stack.callback(self._end_delay)
            segments = min([inside(name, tcp.send_large_packets) for name in names.values()])
            kind, says = delays.pick(self._choice, names)
            self.why = f"{self._asked} {says}"
            self._delay = kind(names, self._wanted, self._rtt_ms)
            interfaces = {role: lan.kept(stack, inside(name, counters.open_interfaces)) for role, name in names.items()}
            snmp = [lan.kept(stack, inside(name, counters.open_snmp)) for name in names.values()]
            self._opened = _Opened(names, segments, interfaces, snmp, self._measure(names))
            try:
                yield self
            finally:
                self._opened = None

    def _end_delay(self) -> None:
        if self._delay is not None:
            self._delay.close()
            self._delay = None

    def _measure(self, names: dict[str, str]) -> idle.Idle:
        found = lan.idle_between(names)
        if not self._rtt_ms <= found.rtt_us / 1000 <= self._rtt_ms * _TOO_SLOW + _PATIENCE_MS:
            raise LinkError(
                f"The idle link has a round trip of {found.rtt_us / 1000:.1f} ms instead of {self._rtt_ms:g};"
                " give the machine less to do, or choose another rtt_ms."
            )
        return found

    @property
    def _now(self) -> _Opened:
        if self._opened is None:
            raise RuntimeError("the link is not open")
        return self._opened

    @property
    def _running(self) -> Delay:
        if self._delay is None:
            raise RuntimeError("the link is not open")
        return self._delay

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

    @property
    def emulator_pid(self) -> int | None:
        return self._running.pid

    def measure(self) -> float:
        now = self._now
        if sentence := self._running.changed():
            raise LinkError(sentence)
        self._opened = replace(now, idle=self._measure(now.namespaces))
        return self.rtt_idle_us

    def lost(self) -> str:
        return self._running.lost()

    def restore(self) -> None:
        if self.lost():
            names, kind = self._now.namespaces, type(self._running)
            self._end_delay()
            self._delay = kind(names, self._wanted, self._rtt_ms)
            self._opened = replace(self._now, idle=self._measure(names))

    def changed(self) -> str:
        return self._running.changed()

    def counters(self) -> Counters:
        now = self._now
        try:
            emulator = self._running.counted()
            refused = sum(counters.read_dropped(opened, role) for role, opened in now.interfaces.items())
            ends = counters.read_counters(now.interfaces[SERVER], SERVER, now.snmp)
        except (OSError, ValueError, LinkUnavailableError):  # its devices have gone with it
            return Counters(None, None, None)
        return replace(ends, emulator=replace(emulator, dropped=emulator.dropped + refused))

    def describe(self) -> dict[str, object]:
        now = self._now
        buckets = self._running.buckets
        return {
            "kind": self.kind,
            "emulated": self.emulated,
            "why": self.why,
            "fell_back": self.fell_back,
            "server_address": self.server_address,
            "rate_mbit_s": buckets[SERVER].rate_mbit_s,
            "rtt_ms": self._rtt_ms,
            "rtt_idle_us": self.rtt_idle_us,
            "congestion_control": {
                "client": now.idle.client_congestion_control,
                "server": now.idle.server_congestion_control,
            },
            "congestion_control_pinned": True,
            "qdisc": [bucket.as_dict(role) for role, bucket in buckets.items()],
            "namespaces": list(now.namespaces.values()),
            "mtu_bytes": wire.MTU_BYTES,
            "offloads": {role: inside(name, partial(tun.offloads, role)) for role, name in now.namespaces.items()},
            "tcp_min_tso_segs": now.segments,
            "tcp_rmem": inside(now.namespaces[CLIENT], lambda: tcp.setting("tcp_rmem")),
            "emulator": self._running.describe(),
        }
