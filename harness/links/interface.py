"""What every link looks like from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Self


class LinkError(Exception):
    """Something about a link went wrong; the text is one clear sentence for the user."""


class LinkUnavailableError(LinkError):
    """The machine cannot make that link (exit code 3); says what is missing and what would make it work."""


class LinkUsageError(LinkError):
    """The link was asked for wrongly, e.g. remote without a URL (exit code 2)."""


LATE_BOUNDS_NS = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 50_000_000)
"""What a packet's lateness is counted by."""


@dataclass(frozen=True)
class EmulatorCounters:
    """What delays packets has counted: a process of ours between two TUN devices, or the kernel's netem."""

    name: str  # tun, netem
    delivered: int  # packets that were delayed (tun: as large as the kernel makes them; netem: as on a wire)
    dropped: int  # packets for which it, or a queue or device in front of it, had no room
    late: tuple[int, ...] | None = None  # packets delivered later than each of LATE_BOUNDS_NS; None: nobody counts
    waited_ns: int | None = None  # time that it wanted a CPU and had none; None: it is no process

    def __sub__(self, earlier: EmulatorCounters) -> EmulatorCounters:
        late = zip(self.late, earlier.late, strict=True) if self.late and earlier.late else None
        return EmulatorCounters(
            self.name,
            self.delivered - earlier.delivered,
            self.dropped - earlier.dropped,
            tuple(now - before for now, before in late) if late is not None else None,
            _minus(self.waited_ns, earlier.waited_ns),
        )


@dataclass(frozen=True)
class Counters:
    """What the kernel counted so far; subtract two of them for what happened in between."""

    # server to clients, with Ethernet headers; None when directions cannot be told apart (loopback, remote)
    tx_bytes: int | None
    # clients to server, likewise
    rx_bytes: int | None
    # TCP RetransSegs of the namespaces at both ends (loopback, remote: the host's, so others' as well)
    retransmitted_segments: int | None
    # None: nothing is delayed, or nobody knows
    emulator: EmulatorCounters | None = None

    def __sub__(self, earlier: Counters) -> Counters:
        return Counters(
            _minus(self.tx_bytes, earlier.tx_bytes),
            _minus(self.rx_bytes, earlier.rx_bytes),
            _minus(self.retransmitted_segments, earlier.retransmitted_segments),
            self.emulator - earlier.emulator if self.emulator is not None and earlier.emulator is not None else None,
        )


def _minus(later: int | None, earlier: int | None) -> int | None:
    return None if later is None or earlier is None else later - earlier


class Link(ABC):
    """One link.  ``why`` and ``fell_back`` are known at once, the rest while open (else RuntimeError)."""

    kind: ClassVar[str]  # "loopback", "lan", "wan", "remote": as in harness.records.Link
    emulated: ClassVar[bool]

    def __init__(self, *, why: str, fell_back: bool = False) -> None:
        self.why = why  # one sentence: why this link
        self.fell_back = fell_back  # auto wanted a lan and could not have it

    @abstractmethod
    def open(self) -> AbstractContextManager[Self]:
        """Make the link, measure its idle RTT, and take everything away at the end, also on an exception.

        LinkUnavailableError when the machine cannot.  SIGTERM must have been turned into an exception by the
        caller (Python does so for SIGINT only); what SIGKILL leaves behind is swept by the next ``open``.
        """

    @property
    @abstractmethod
    def server_address(self) -> str:
        """IP literal that servers must listen on and clients connect to (remote: the resolved address)."""

    @property
    @abstractmethod
    def client_argv_prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs at the clients' end (the SSA's daemon too); may be empty."""

    @property
    @abstractmethod
    def server_argv_prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs at the server's end; may be empty."""

    @property
    @abstractmethod
    def rtt_idle_us(self) -> float:
        """Median of 20 TCP connects on the idle link, microseconds; measured when the link was opened."""

    @abstractmethod
    def measure(self) -> float:
        """Look at the idle link again: the RTT as in ``rtt_idle_us``, which becomes it.

        LinkError when the link is not what it was opened as.
        """

    @property
    def server_port(self) -> int | None:
        """Where the server listens, when the link itself has brought it."""
        return None

    @property
    def emulator_pid(self) -> int | None:
        """The process that delays packets, when there is one."""
        return None

    @property
    def watched_pid(self) -> int | None:
        """The process without which there is no link, when there is one."""
        return self.emulator_pid

    def lost(self) -> str:
        """One sentence when ``watched_pid`` has ended; empty while it lives, and when there is none."""
        return ""

    def restore(self) -> None:
        """Replace it when it has ended.  LinkError when that cannot be done."""
        if sentence := self.lost():
            raise LinkError(sentence)

    def changed(self) -> str:
        """One sentence when the link is not what it was opened as; empty while it is, and where nobody can tell."""
        return ""

    @abstractmethod
    def counters(self) -> Counters:
        """What the kernel counted until now."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """For environment.json; the same keys for every kind.

        kind, emulated, why, fell_back, server_address, rate_mbit_s (as read back from the kernel; None:
        unshaped), rtt_ms (as set; None: no delay is added), rtt_idle_us, congestion_control ({"client": ...,
        "server": ...}), congestion_control_pinned, qdisc (list of {"where", "kind", "rate_mbit_s", "burst_bytes",
        "limit_bytes"}), and kind's own (url, namespaces, mtu, ssh, host, clock_offset_ns).  ``server`` is the
        description of a server that the link itself has brought.
        """
