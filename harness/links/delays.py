"""What lies between the namespaces of a wan and delays packets: two TUN devices and a process, or the kernel's netem.

A *delay* is made with the devices, addresses and token buckets at both ends, asked, and closed.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, Literal

from harness.links import lan, netem, tcp, tun, wire
from harness.links.emulation import Emulator
from harness.links.interface import EmulatorCounters, LinkUnavailableError
from harness.links.lan import ADDRESSES, CLIENT, PREFIX_LENGTH, SERVER
from harness.links.namespaces import inside, namespace

Choice = Literal["auto", "netem", "tun"]

_QUEUE_PACKETS = 20_000  # that a TUN device holds until the emulator reads them: 300 ms of small ones
_SPARE_BYTES = 32_000_000  # the emulator's queue, beyond what is on its way


class Delay(ABC):
    """Made in the namespaces (their names by role).  LinkUnavailableError when the machine cannot."""

    name: ClassVar[str]  # as plans say it
    says: ClassVar[str]
    buckets: dict[str, wire.Bucket]

    @abstractmethod
    def __init__(self, names: dict[str, str], bucket: wire.Bucket, rtt_ms: float) -> None: ...

    @property
    def pid(self) -> int | None:
        """The process that delays packets, when there is one."""
        return None

    def lost(self) -> str:
        """One sentence when that has ended; empty while it lives, and when there is none."""
        return ""

    def changed(self) -> str:
        """One sentence when the kernel no longer has what was set; empty while it has."""
        return lan.change_of(self._names, self.buckets)

    @abstractmethod
    def counted(self) -> EmulatorCounters:
        """Until now.  OSError or LinkUnavailableError when it has gone."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """For environment.json."""

    @abstractmethod
    def close(self) -> None:
        """End what does not end with the namespaces."""

    def _shape(self, names: dict[str, str], bucket: wire.Bucket, queue_packets: int | None = None) -> None:
        self._names = names
        self.buckets = {
            role: inside(name, partial(_shape, role, bucket, queue_packets)) for role, name in names.items()
        }


def _shape(role: str, bucket: wire.Bucket, queue_packets: int | None) -> wire.Bucket:
    wire.bring_up(role, ADDRESSES[role], PREFIX_LENGTH, queue_packets)
    wire.pin_routes(tcp.CONGESTION_CONTROL)
    return wire.shape(role, bucket)


class TunDelay(Delay):
    """Half of the round trip each way, by the process of ``emulation``."""

    name = "tun"
    says = "A process between two TUN devices delays its packets"

    def __init__(self, names: dict[str, str], bucket: wire.Bucket, rtt_ms: float) -> None:
        devices: list[int] = []
        try:
            for role, name in names.items():
                devices.append(inside(name, partial(tun.make, role)))
            self._shape(names, bucket, _QUEUE_PACKETS)
            on_its_way = bucket.rate_mbit_s * 1e6 / 8 * rtt_ms / 1e3
            self._emulator = Emulator(devices, round(rtt_ms * 1e6 / 2), round(on_its_way) + _SPARE_BYTES)
        finally:
            for device in devices:
                os.close(device)

    @property
    def pid(self) -> int:
        return self._emulator.pid

    def lost(self) -> str:
        return self._emulator.lost()

    def counted(self) -> EmulatorCounters:
        return self._emulator.counted()

    def describe(self) -> dict[str, object]:
        return {"name": self.name, "scheduling": self._emulator.scheduling, "queue_packets": _QUEUE_PACKETS}

    def close(self) -> None:
        self._emulator.close()


class NetemDelay(Delay):
    """All of the round trip at the clients' end, by the kernel; ``netem`` says why there."""

    name = "netem"
    says = "The kernel's netem delays its packets"

    def __init__(self, names: dict[str, str], bucket: wire.Bucket, rtt_ms: float) -> None:
        wire.connect(names[CLIENT], CLIENT, names[SERVER], SERVER)
        self._shape(names, bucket)
        asked = netem.wanted(rtt_ms, bucket.rate_mbit_s)
        self._set = inside(names[CLIENT], partial(netem.delay, CLIENT, asked))

    def changed(self) -> str:
        if sentence := super().changed():
            return sentence
        try:
            found = inside(self._names[CLIENT], partial(netem.read, CLIENT))
        except LinkUnavailableError as error:
            return f"The link has changed under way, at the client's end: {error}"
        return "" if found == self._set else f"The link has changed under way: {self._set} is {found} now."

    def counted(self) -> EmulatorCounters:
        ends = [inside(name, partial(netem.read_counted, role)) for role, name in self._names.items()]
        return EmulatorCounters(self.name, sum(end.delivered for end in ends), sum(end.dropped for end in ends))

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "where": CLIENT,
            "delay_ms": self._set.delay_ms,
            "limit_packets": self._set.limit_packets,
        }

    def close(self) -> None:
        """It ends with the namespaces."""


def check_netem() -> None:
    """Try netem in a namespace that is made for it.  LinkUnavailableError says what is missing."""
    with namespace("netem") as name:
        inside(name, netem.check)


def pick(choice: Choice, names: dict[str, str]) -> tuple[type[Delay], str]:
    """Which of them, and one sentence that says so; with ``auto``, netem is tried in a namespace of the link."""
    if choice == "netem":
        return NetemDelay, f"{NetemDelay.says}."
    if choice == "tun":
        return TunDelay, f"{TunDelay.says}."
    try:
        inside(names[CLIENT], netem.check)
    except LinkUnavailableError as error:
        return TunDelay, f"{TunDelay.says}. {error}"
    return NetemDelay, f"{NetemDelay.says}."
