"""A wan over the kernel's netem, where the kernel has it: run by name, if need be under another kernel.

``other_kernel.sh`` starts one.  CI's has no netem, so pytest does not find this file by itself; ``test_netem`` is
what such a kernel can tell.
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.campaign import LINKS, read_records
from harness.links import Link, LinkError, choose
from harness.records import LinkSample, Trial
from harness.validity import emulator_fault
from tests.harness.program import Program
from tests.harness.test_wan import ONLY_OPENSSL, body, connected, download, echo, harness, inside, served

__all__ = ["harness"]

Make = Callable[..., Any]
RATE_MBIT_S = 50.0
"""Low enough for a machine that is itself emulated."""


def tc(link: Link, end: str, *words: str) -> None:
    inside(link, end, lambda: subprocess.run(["tc", "qdisc", *words], check=True))


def squeeze(link: Link) -> None:
    tc(link, "client", "change", "dev", "client", "parent", "1:1", "netem", "delay", "5ms", "limit", "1")


def datagrams(link: Link) -> None:
    with inside(link, "client", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
        for _ in range(10):
            sending.sendto(b"packet", (link.server_address, 9))


def test_it_is_what_it_says() -> None:
    link = choose("wan")
    with link.open():
        described = link.describe()
        assert described["emulator"] == {"name": "netem", "where": "client", "delay_ms": 40.0, "limit_packets": 95_758}
        assert link.why == "It was asked for. The kernel's netem delays its packets."
        assert (described["rate_mbit_s"], described["rtt_ms"], described["tcp_min_tso_segs"]) == (1000, 40, 44)
        assert described["congestion_control"] == {"client": "cubic", "server": "cubic"}
        assert link.rtt_idle_us >= 40_000
        assert link.measure() >= 40_000
        assert link.changed() == link.lost() == ""
        assert link.emulator_pid is None
        assert json.loads(json.dumps(described)) == described


def test_a_ping_takes_the_round_trip_and_never_less() -> None:
    link = choose("wan", rtt_ms=25, emulator="netem")
    with link.open(), served(link, echo) as address, connected(link, address) as client:
        for _ in range(10):
            begun_ns = time.monotonic_ns()
            client.send(b"ping")
            assert client.recv(100) == b"ping"
            assert time.monotonic_ns() - begun_ns >= 25_000_000


@pytest.mark.parametrize("n", [1, 100])
def test_downloads_keep_to_the_rate_and_nothing_is_dropped_or_sent_again(n: int) -> None:
    link = choose("wan", rate_mbit_s=RATE_MBIT_S, emulator="netem")
    with link.open(), served(link, body) as address, ThreadPoolExecutor(n) as pool:
        before, begun_s = link.counters(), time.monotonic()
        sizes = list(pool.map(lambda _: download(link, address), range(n)))
        took_s, used = time.monotonic() - begun_s, link.counters() - before
        assert sizes == [1_000_000] * n
        assert used.emulator is not None
        assert emulator_fault(used.emulator) == ""
        assert used.emulator.dropped == 0
        assert used.emulator.delivered >= 4 * n  # SYN, ACK, the question, FIN
        assert used.tx_bytes is not None
        assert used.tx_bytes > 1_000_000 * n
        assert took_s >= (1_000_000 * n - 131_072) * 8 / (RATE_MBIT_S * 1e6)
        print(f"n = {n}: {took_s:.2f} s, {used}")  # noqa: T201


def test_what_has_no_room_is_counted_and_invalid() -> None:
    link = choose("wan", rtt_ms=5, emulator="netem")
    with link.open():
        before = link.counters()
        squeeze(link)
        datagrams(link)
        used = (link.counters() - before).emulator
        assert used is not None
        assert used.dropped >= 8
        assert "was full: it dropped" in emulator_fault(used)
        with pytest.raises(LinkError, match=r"has changed under way: Netem\(delay_ms=5.0, .* limit_packets=1\) now"):
            link.measure()


def test_one_that_somebody_removes_is_noticed() -> None:
    link = choose("wan", rtt_ms=5, emulator="netem")
    with link.open():
        tc(link, "client", "del", "dev", "client", "parent", "1:1")
        assert link.changed() == (
            "The link has changed under way, at the client's end: The kernel shows no netem qdisc where one was put."
        )
        tc(link, "server", "del", "dev", "server", "root")
        with pytest.raises(LinkError, match="at the server's end: The kernel shows no token bucket"):
            link.measure()


def test_rootless() -> None:
    program = (
        "from harness.links import choose\n"
        "with choose('wan').open() as link:\n"
        "    print(link.describe()['emulator']['name'], link.rtt_idle_us >= 40_000)\n"
    )
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.stdout) == ("", "netem True\n")


def test_a_campaign_says_what_delayed_its_packets(harness: Program) -> None:
    small = ("--set", "levels=[1, 2]", "--blocks", "1", "--set", "warm_up=0", "--set", f"rate_mbit_s={RATE_MBIT_S}")
    where = ("--no-analysis", "--out", str(harness.out))
    ended = harness("run", "--preset", "smoke", "--far", "--server", "nginx", *small, *ONLY_OPENSSL, *where)
    assert ended.code == 0, ended.said
    assert "Link: wan. It was asked for. The kernel's netem delays its packets." in ended.sentence
    assert harness("check", str(harness.campaign)).code == 0
    trials = list(read_records(harness.campaign / "trials.jsonl", Trial))
    samples = list(read_records(harness.campaign / LINKS, LinkSample))
    assert [(one.emulator, one.dropped, one.late_10ms, one.cpu_emulator) for one in samples] == [
        ("netem", 0, None, None) for _ in trials
    ]
    environment = json.loads((harness.campaign / "environment.json").read_text())
    assert environment["fingerprint"]["link.emulator"]["name"] == "netem"
