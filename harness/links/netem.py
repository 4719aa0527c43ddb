"""The kernel's netem qdisc: packets that leave an interface do so later (tc-netem(8), net/sched/sch_netem.c).

Whether the kernel has it, nobody can read anywhere: it is put on a loopback interface that nothing uses, and read
back (the kernel then loads ``sch_netem`` by itself where it can).

Where it stands.  All of the round trip is at the clients' end, beneath the token bucket, in the way of requests and
acknowledgements.  Whoever measures at one end cannot tell on which way a packet was late, only the round trip; a rate
and a constant delay may be in either order; and the server's end stays that of a lan, where TCP sees its packets
leave when they have passed the token bucket, and so keeps two of them waiting and no more (TCP small queues).  Beneath
the server's bucket netem would take them from TCP's account as they come (skb_orphan_partial), and all of a window
would queue behind the bucket.

Limit, in packets, of which one of 64 KiB counts as one (GSO; netem cuts them up only to corrupt them): all of the
smallest that the rate passes in the time of the delay (the bandwidth-delay product), and 20 000 that wait behind the
bucket.  So it drops none; what it does drop is counted, and the trial is invalid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from harness.links import wire
from harness.links.interface import LinkUnavailableError

SMALLEST_BYTES = 66
"""An acknowledgement: headers of Ethernet (14), IPv4 (20), and TCP (20) with its time stamps (12)."""

WAITING_PACKETS = 20_000

KIND = "netem"
_NEEDS = "a kernel with sch_netem (`modprobe sch_netem`)"
_LOOPBACK = "lo"


@dataclass(frozen=True)
class Netem:
    """A delay as the kernel has it."""

    delay_ms: float
    limit_packets: int


@dataclass(frozen=True)
class Counted:
    """What the kernel's qdiscs of one interface have counted."""

    delivered: int  # that netem let go: packets as on a wire, however large they were handed over
    dropped: int  # that the bucket, or netem beneath it, had no room for


def wanted(delay_ms: float, rate_mbit_s: float) -> Netem:
    """The delay, with room for everything that can be on its way at that rate."""
    on_their_way = rate_mbit_s * 1e6 / 8 * delay_ms / 1e3 / SMALLEST_BYTES
    return Netem(delay_ms, math.ceil(on_their_way) + WAITING_PACKETS)


def check() -> None:
    """Try it on the loopback interface of the caller's namespace.  LinkUnavailableError says what is missing."""
    _put(_LOOPBACK, Netem(1.0, 1), wire.ROOT)
    with wire.kernel("The netem qdisc", _NEEDS) as ip:
        ip.tc("del", index=ip.link_lookup(ifname=_LOOPBACK)[0], parent=wire.ROOT)


def delay(interface: str, asked: Netem) -> Netem:
    """Put it beneath the token bucket of an interface of the caller's namespace; returns it as read back."""
    return _put(interface, asked, f"{wire.BUCKET}1")


def _put(interface: str, asked: Netem, parent: str | int) -> Netem:
    with wire.kernel("The netem qdisc", _NEEDS) as ip:
        index = ip.link_lookup(ifname=interface)[0]
        options = {"delay": round(asked.delay_ms * 1000), "limit": asked.limit_packets}
        ip.tc("add", KIND, index=index, parent=parent, **options)
    return read(interface)


def read(interface: str) -> Netem:
    """The delay of an interface of the caller's namespace, as it is now.  LinkUnavailableError when there is none."""
    for qdisc in wire.qdiscs(interface):
        if qdisc.get_attr("TCA_KIND") == KIND:
            found = qdisc.get_attr("TCA_OPTIONS")
            return Netem(round(found["delay"] * wire.tick_s() * 1000, 4), found["limit"])
    raise LinkUnavailableError("The kernel shows no netem qdisc where one was put.")


def read_counted(interface: str) -> Counted:
    """What was counted at an interface of the caller's namespace until now."""
    return counted_of(wire.qdiscs(interface))


def counted_of(qdiscs: Iterable[Any]) -> Counted:
    """From what the kernel says of an interface's qdiscs.

    What the one beneath drops, the bucket counts as well, so that it is asked alone.  Its ``overlimits`` are the
    times that somebody had to wait for tokens, which is what it is for.
    """
    delivered = dropped = 0
    for qdisc in qdiscs:
        stats = qdisc.get_attr("TCA_STATS2")
        if qdisc.get_attr("TCA_KIND") == KIND:
            delivered += stats.get_attr("TCA_STATS_BASIC")["packets"]
        elif qdisc["parent"] == wire.ROOT:
            dropped += stats.get_attr("TCA_STATS_QUEUE")["drops"]
    return Counted(delivered, dropped)
