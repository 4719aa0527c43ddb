"""A veth pair between two namespaces, and the token buckets that make it slow (pyroute2)."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.links import enter
from harness.links.interface import LinkUnavailableError
from harness.links.namespaces import inside

MTU_BYTES = 1500
BUCKET = "1:"
"""The handle of a token bucket."""
ROOT = 0xFFFFFFFF
"""The parent of what is at an interface itself: TC_H_ROOT, linux/pkt_sched.h."""
_PINNED_TYPES = (1, 2)  # RTN_UNICAST, RTN_LOCAL: linux/rtnetlink.h


@dataclass(frozen=True)
class Bucket:
    """A token bucket as the kernel has it."""

    rate_mbit_s: float
    burst_bytes: int
    limit_bytes: int

    def as_dict(self, where: str) -> dict[str, object]:
        """For environment.json."""
        return {
            "where": where,
            "kind": "tbf",
            "rate_mbit_s": self.rate_mbit_s,
            "burst_bytes": self.burst_bytes,
            "limit_bytes": self.limit_bytes,
        }


@contextlib.contextmanager
def kernel(what: str, needs: str) -> Iterator[Any]:
    """The caller's namespace, to be configured; errors become one sentence."""
    try:
        from pyroute2.iproute import linux
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError as error:
        raise LinkUnavailableError(f"{what} needs pyroute2; `pip install pyroute2` makes it available.") from error
    route: Any = linux.IPRoute
    try:
        with route() as ip:
            yield ip
    except (NetlinkError, OSError) as error:
        code = error.code if isinstance(error, NetlinkError) else error.errno
        reason = errno.errorcode.get(code or 0, str(code))
        raise LinkUnavailableError(f"{what} cannot be made here ({reason}); {needs} makes it possible.") from error


def raise_loopback() -> None:
    """Bring up ``lo`` of the caller's namespace."""
    with kernel("A loopback interface", "CAP_NET_ADMIN (root)") as ip:
        ip.link("set", index=1, state="up")


def connect(left: str, left_name: str, right: str, right_name: str) -> None:
    """Make a veth pair whose ends, of the given names, are in two namespaces."""

    def make() -> None:
        with (
            kernel("A veth pair", "a kernel with veth (`modprobe veth`)") as ip,
            Path(enter.DIRECTORY, right).open("rb") as other,
        ):
            peer = {"ifname": right_name, "net_ns_fd": other.fileno()}
            ip.link("add", ifname=left_name, kind="veth", mtu=MTU_BYTES, peer=peer)

    inside(left, make)


def bring_up(interface: str, address: str, prefix_length: int, queue_packets: int | None = None) -> None:
    """Give an interface of the caller's namespace its address, and raise it.

    ``queue_packets``: how many packets the device itself may hold (a TUN device: until they are read).
    """
    with kernel("An interface", "CAP_NET_ADMIN (root)") as ip:
        index = ip.link_lookup(ifname=interface)[0]
        if queue_packets is not None:
            ip.link("set", index=index, txqlen=queue_packets, mtu=MTU_BYTES)
        ip.addr("add", index=index, address=address, prefixlen=prefix_length)
        ip.link("set", index=index, state="up")


def pin_routes(congestion_control: str) -> None:
    """Make every IPv4 connection of the caller's namespace, made or accepted, use that congestion control."""
    needs = f"a kernel with tcp_{congestion_control} (`modprobe tcp_{congestion_control}`)"
    with kernel(f"A route with {congestion_control}", needs) as ip:
        for route in ip.get_routes(family=socket.AF_INET):
            if route["type"] in _PINNED_TYPES:
                ip.route("replace", **_same(route), metrics={"cc_algo": congestion_control})


def _same(route: Any) -> dict[str, Any]:
    return {
        "table": route.get_attr("RTA_TABLE"),
        "type": route["type"],
        "scope": route["scope"],
        "proto": route["proto"],
        "dst": f"{route.get_attr('RTA_DST')}/{route['dst_len']}",
        "oif": route.get_attr("RTA_OIF"),
        "prefsrc": route.get_attr("RTA_PREFSRC"),
    }


def shape(interface: str, wanted: Bucket) -> Bucket:
    """Put a token bucket on what leaves an interface of the caller's namespace; returns it as read back."""
    with kernel("A token bucket (TBF)", "a kernel with sch_tbf (`modprobe sch_tbf`)") as ip:
        index = ip.link_lookup(ifname=interface)[0]
        rate = f"{round(wanted.rate_mbit_s * 1000)}kbit"
        options = {"rate": rate, "burst": wanted.burst_bytes, "limit": wanted.limit_bytes}
        ip.tc("add", "tbf", index=index, handle=BUCKET, **options)
    return read_bucket(interface)


def read_bucket(interface: str) -> Bucket:
    """The token bucket of an interface of the caller's namespace, as it is now."""
    for qdisc in qdiscs(interface):
        if qdisc.get_attr("TCA_KIND") == "tbf":
            found = qdisc.get_attr("TCA_OPTIONS").get_attr("TCA_TBF_PARMS")
            burst_s = found["buffer"] * tick_s()
            return Bucket(found["rate"] * 8 / 1e6, round(burst_s * found["rate"]), found["limit"])
    raise LinkUnavailableError("The kernel shows no token bucket (TBF) where one was put.")


def qdiscs(interface: str) -> list[Any]:
    """What the kernel says of the qdiscs of an interface of the caller's namespace (pyroute2's messages)."""
    with kernel("A look at an interface's qdiscs", "pyroute2 as it was") as ip:
        found = ip.link_lookup(ifname=interface)
        if not found:
            raise LinkUnavailableError(f"The interface {interface} of the link is gone; somebody has removed it.")
        return list(ip.get_qdiscs(index=found[0]))


def tick_s() -> float:
    """The unit of a bucket's depth and netem's delay in the kernel (net/sched/sch_api.c, psched_show), 64 ns today."""
    words = Path("/proc/net/psched").read_text(encoding="ascii").split()
    return int(words[1], 16) / int(words[0], 16) / 1e6
