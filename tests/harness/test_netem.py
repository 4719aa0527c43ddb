"""The kernel's netem as the delay of a wan, as far as a kernel without it can tell; ``on_netem`` is the rest."""

import contextlib
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pyroute2.netlink.rtnl.tcmsg import tcmsg
from typer.testing import CliRunner

from harness.assemble import link_sample
from harness.cli import app
from harness.errors import CannotError, UsageError
from harness.links import Counters, EmulatorCounters, LinkUnavailableError, choose, delays, netem
from harness.links.namespaces import inside, namespace
from harness.plan import build, load_preset
from harness.records import Stack
from harness.stage import stages
from harness.validity import emulator_fault

Make = Callable[..., Any]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

QDISCS = (
    "bc000000240002000001000072000000000000000200000000000100ffffffff0300000008000100746266002c0002002800010000010000"
    "00000000405973070000000000000000000000000040420ff73f00000000000005000c00000000003000070014000100871200000000000045"
    "0000000000000018000300010000005a0000000a00000000000000000000002c0003008712000000000000450000000a000000000000000000"
    "000000000000010000005a00000000000000",
    "0401000024000200000100007200000000000000020000000000018001000100010000000a0001006e6574656d000000700002002d31010001"
    "000000000000000000000000000000000000000c000a00404b4c00000000000c000b000000000000000000100001000000000000000000000000"
    "000c00030000000000000000000c0004000000000000000000140006000000000000000000000000000000000005000c000000000030000700"
    "14000100d311000000000000430000000000000018000300010000005a0000000a00000000000000000000002c000300d31100000000000043"
    "0000000a000000000000000000000000000000010000005a00000000000000",
)
"""What Linux 6.1 said of a token bucket and the netem beneath it, after ten datagrams into a limit of one packet."""

GOOD = EmulatorCounters("netem", delivered=1000, dropped=0)


def recorded() -> list[Any]:
    messages = [tcmsg(bytes.fromhex(text)) for text in QDISCS]
    for message in messages:
        message.decode()
    return messages


class TestWords:
    def test_what_the_kernel_counted(self) -> None:
        assert netem.counted_of(recorded()) == netem.Counted(delivered=67, dropped=10)
        assert netem.counted_of([]) == netem.Counted(0, 0)

    @pytest.mark.parametrize(
        ("rate_mbit_s", "delay_ms", "limit_packets"),
        [(1000, 40, 95_758), (1000, 80, 171_516), (100, 40, 27_576), (1, 1, 20_002), (30_000, 2000, 113_656_364)],
    )
    def test_the_limit_is_all_that_can_be_on_its_way_and_what_waits(
        self, rate_mbit_s: float, delay_ms: float, limit_packets: int
    ) -> None:
        assert netem.wanted(delay_ms, rate_mbit_s) == netem.Netem(delay_ms, limit_packets)
        assert limit_packets < 2**32

    def test_a_plan_says_which_and_plans_on_record_keep_their_hash(self) -> None:
        fields = {"levels": [1], "blocks": 1, "link": "wan"}
        plain = build(fields, {}, "test")
        assert plain.emulator == "auto"
        assert plain.sha256 == build({**fields, "emulator": "auto"}, {}, "test").sha256
        hashes = {build({**fields, "emulator": name}, {}, "test").sha256 for name in ("auto", "netem", "tun")}
        assert len(hashes) == 3

    def test_only_a_wan_has_one(self) -> None:
        with pytest.raises(UsageError, match='emulator: belongs to wan, and the link is "lan"'):
            load_preset("smoke", {"link": "lan", "emulator": "netem"})
        with pytest.raises(UsageError, match=r"emulator: .*'auto', 'netem' or 'tun'"):
            load_preset("smoke", {"link": "wan", "emulator": "router"})


class TestValidity:
    def test_a_trial_is_judged_by_what_was_dropped(self) -> None:
        assert emulator_fault(GOOD) == ""
        assert emulator_fault(replace(GOOD, dropped=2)) == ("The emulator of the link was full: it dropped 2 packets.")

    def test_what_nobody_counts_is_not_written_down(self, identify: Make, observe: Make) -> None:
        used = Counters(1, 2, 0, replace(GOOD, delivered=1700)) - Counters(0, 0, 0, replace(GOOD, delivered=700))
        written = link_sample(identify(Stack.OPENSSL, 3), observe(3, link=used), 40_100.5)
        assert (written.emulator, written.delivered, written.dropped) == ("netem", 1000, 0)
        assert written.cpu_emulator is written.emulator_waited_ns is written.late_100us is written.late_50ms is None


def kernel_has_it(name: str) -> bool:
    """As tc(8) finds out in a namespace that is thrown away, and not as we do."""
    argv = ["tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return inside(name, lambda: subprocess.run(argv, stderr=subprocess.DEVNULL, check=False).returncode == 0)


@pytest.mark.system
@pytest.mark.root
@needs_root
class TestKernel:
    def test_auto_is_netem_where_the_kernel_has_it_and_says_so(self) -> None:
        with namespace("client") as name:
            has = kernel_has_it(name)
        link = choose("wan", rtt_ms=5)
        for _ in range(2):  # a link that is opened again says it once
            with link.open():
                emulator = link.describe()["emulator"]
                assert isinstance(emulator, dict)
                assert emulator["name"] == ("netem" if has else "tun")
                assert link.why == link.describe()["why"]
                assert link.why == "It was asked for. " + (
                    "The kernel's netem delays its packets."
                    if has
                    else "A process between two TUN devices delays its packets. The netem qdisc cannot be made here"
                    " (ENOENT); a kernel with sch_netem (`modprobe sch_netem`) makes it possible."
                )
                assert link.why.count("delays") == 1

    def test_trying_it_leaves_nothing(self) -> None:
        with namespace("client") as name:
            for _ in range(2):
                with contextlib.suppress(LinkUnavailableError):
                    inside(name, netem.check)
            shown = inside(name, lambda: subprocess.run(["tc", "qdisc"], capture_output=True, check=True).stdout)
        assert shown in {b"", b"qdisc noqueue 0: dev lo root refcnt 2 \n"}

    def test_a_plan_that_this_kernel_cannot_run_is_printed_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(netem, "KIND", "no-such-qdisc")
        for chosen, said in (
            ("netem", "This machine cannot run it: The netem qdisc"),
            ("auto", ""),
        ):
            result = CliRunner().invoke(app, ["plan", "--json", "--link", "wan", "--set", f"emulator={chosen}"])
            assert result.exit_code == 0
            assert json.loads(result.stdout)["plan"]["emulator"] == chosen
            assert result.stderr.startswith(said)
            assert bool(said) is bool(result.stderr)

    def test_a_kernel_without_it_refuses_in_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(netem, "KIND", "no-such-qdisc")
        with (
            pytest.raises(LinkUnavailableError, match=r"The netem qdisc cannot be made here \(ENOENT\); a kernel with"),
            choose("wan", emulator="netem").open(),
        ):
            pass
        with namespace("client") as name:
            kind, says = delays.pick("auto", {"client": name})
            assert (kind, "cannot be made here" in says) == (delays.TunDelay, True)
            assert delays.pick("netem", {"client": name}) == (
                delays.NetemDelay,
                "The kernel's netem delays its packets.",
            )

    def test_a_plan_that_asks_for_it_ends_with_that_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(netem, "KIND", "no-such-qdisc")
        wan = load_preset("smoke", {"link": "wan", "emulator": "netem"})
        with pytest.raises(CannotError, match="The netem qdisc cannot be made here"), stages(wan, wan.every_link):
            pass
