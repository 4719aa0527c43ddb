"""The emulated wide-area link over TUN devices: punctual, whole, gone when it should be, honest when it was not."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.figures.figure4 import NOTES, STYLES, WHERE
from harness.assemble import Setting, assemble, link_sample
from harness.campaign import LINKS, read_records
from harness.errors import UsageError
from harness.links import (
    Counters,
    EmulatorCounters,
    LinkError,
    LinkUnavailableError,
    LinkUsageError,
    choose,
    enter,
    namespaces,
    tun,
)
from harness.links import Link as AnyLink
from harness.links.emulation import Emulator
from harness.links.wan import Wan
from harness.plan import build, load_preset
from harness.records import Link, LinkSample, Outcome, Stack, Trial
from harness.validity import emulator_fault
from tests.harness.program import Program

Make = Callable[..., Any]
PATIENCE_S = 90
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def ours() -> set[str]:
    with contextlib.suppress(FileNotFoundError):
        names = {path.name for path in Path(enter.DIRECTORY).iterdir()}
        return {name for name in names if name.startswith(f"ssa-{os.getpid()}-")}
    return set()


@pytest.fixture(autouse=True)
def no_namespace_is_left() -> Iterator[None]:
    before = ours()
    yield
    assert ours() == before


def ends(pid: int) -> None:
    """Wait until the process has ended."""
    with contextlib.suppress(ProcessLookupError):
        end = os.pidfd_open(pid)
        assert select.select([end], [], [], PATIENCE_S)[0]
        os.close(end)


class Pair:
    """An emulator between two sockets, which keep packets apart as TUN devices do."""

    def __init__(self, delay_ns: int, limit_bytes: int) -> None:
        self.left, left = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.right, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for one in (left, right):
            one.setblocking(False)
        self.emulator = Emulator((left.fileno(), right.fileno()), delay_ns, limit_bytes)
        left.close()
        right.close()
        self.left.settimeout(PATIENCE_S)
        self.right.settimeout(PATIENCE_S)

    def close(self) -> None:
        self.emulator.close()
        self.left.close()
        self.right.close()


@pytest.fixture
def between() -> Iterator[Callable[[int, int], Pair]]:
    with contextlib.ExitStack() as stack:

        def make(delay_ns: int, limit_bytes: int) -> Pair:
            pair = Pair(delay_ns, limit_bytes)
            stack.callback(pair.close)
            return pair

        yield make


class TestEmulator:
    def test_packets_come_in_order_both_ways_and_never_early(self, between: Callable[[int, int], Pair]) -> None:
        pair = between(30_000_000, 1_000_000)
        sent: list[tuple[int, bytes]] = []
        for number in range(10):
            packet = bytes([number]) * (1 + 700 * number)
            sent.append((time.monotonic_ns(), packet))
            pair.left.send(packet)
            pair.right.send(packet)
        for end in (pair.right, pair.left):
            for sent_ns, packet in sent:
                assert end.recv(65_536) == packet
                assert time.monotonic_ns() - sent_ns >= 30_000_000

    def test_what_it_delivers_is_counted(self, between: Callable[[int, int], Pair]) -> None:
        pair = between(0, 1_000_000)
        for _ in range(5):
            pair.left.send(b"packet")
            pair.right.recv(100)
        pair.right.send(b"one more")  # when it has come, the five before it are on the page
        pair.left.recv(100)
        delivered, dropped, *late = pair.emulator.words
        assert 5 <= delivered <= 6
        assert dropped == 0
        assert late == sorted(late, reverse=True)

    def test_what_has_no_room_is_dropped_and_counted(self, between: Callable[[int, int], Pair]) -> None:
        pair = between(200_000_000, 2500)
        for _ in range(4):
            pair.left.send(bytes(1000))
        for _ in range(2):
            assert len(pair.right.recv(65_536)) == 1000
        assert pair.emulator.words[1] == 2

    def test_it_says_how_it_ended(self, between: Callable[[int, int], Pair]) -> None:
        pair = between(0, 1000)
        assert pair.emulator.lost() == ""
        os.kill(pair.emulator.pid, signal.SIGKILL)
        ends(pair.emulator.pid)
        assert pair.emulator.lost() == (
            "The emulator of the link was ended by SIGKILL while it was needed. It said nothing."
        )

    def test_one_that_cannot_start_is_one_sentence(self) -> None:
        deaf = os.open("/dev/null", os.O_WRONLY)
        with pytest.raises(LinkError, match=r"The emulator of the link ended \(1\) .* a device failed: Bad file"):
            Emulator((deaf, deaf), 0, 1000)
        os.close(deaf)


class TestWords:
    @pytest.mark.parametrize(("rate_mbit_s", "rtt_ms"), [(0, 40), (30_001, 40), (1000, 0.5), (1000, 2001)])
    def test_what_cannot_be_emulated(self, rate_mbit_s: float, rtt_ms: float) -> None:
        with pytest.raises(LinkUsageError, match=r"A wan of .* cannot be made; 1 to"):
            choose("wan", rate_mbit_s=rate_mbit_s, rtt_ms=rtt_ms)

    def test_a_closed_one_says_so(self) -> None:
        link = choose("wan")
        for ask in (link.describe, link.counters, link.measure, link.lost, lambda: link.emulator_pid):
            with pytest.raises(RuntimeError, match="not open"):
                ask()

    def test_a_plan_of_another_link_has_no_round_trip(self) -> None:
        with pytest.raises(UsageError, match='rtt_ms: belongs to wan, and the link is "lan"'):
            load_preset("smoke", {"link": "lan", "rtt_ms": 80})
        with pytest.raises(
            UsageError, match='rate_mbit_s: belongs to auto and lan and wan, and the link is "loopback"'
        ):
            load_preset("smoke", {"link": "loopback", "rate_mbit_s": 100})
        assert load_preset("smoke", {"link": "wan", "rtt_ms": 80, "rate_mbit_s": 100}).rtt_ms == 80

    def test_plans_on_record_keep_their_hash_and_another_round_trip_is_another_plan(self) -> None:
        fields = {"levels": [1], "blocks": 1, "link": "wan"}
        plain = build(fields, {}, "test")
        assert plain.sha256 == build({**fields, "rtt_ms": 40.0, "rate_mbit_s": 1000.0}, {}, "test").sha256
        assert plain.sha256 != build({**fields, "rtt_ms": 41.0}, {}, "test").sha256

    def test_every_link_has_its_words_in_the_figure_and_emulated_ones_say_so(self) -> None:
        assert set(WHERE) == set(NOTES) == {link for link, _ in STYLES} == set(Link)
        for link in Link:
            emulated = link in {Link.LAN, Link.WAN}
            assert ("emulated" in WHERE[link]) == ("emulated" in NOTES[link]) == emulated


GOOD = EmulatorCounters("tun", delivered=1000, dropped=0, late=(500, 100, 50, 20, 11, 10, 0), waited_ns=7_000_000)


class TestValidity:
    @pytest.mark.parametrize(
        ("emulator", "fault"),
        [
            (GOOD, ""),
            (None, "What the emulator of the link did is not known."),
            (replace(GOOD, dropped=3), "The emulator of the link was full: it dropped 3 packets."),
            (
                replace(GOOD, late=(500, 100, 50, 20, 11, 11, 0)),
                "The emulator of the link was late: 11 of 1000 packets came more than 10 ms late,"
                " as it waited 7 ms for a CPU.",
            ),
        ],
    )
    def test_a_trial_is_judged_by_its_emulator(
        self, emulator: EmulatorCounters | None, fault: str, setting: Setting, identify: Make, observe: Make
    ) -> None:
        assert emulator_fault(emulator) == fault
        observed = observe(3, link=Counters(1, 2, 0, emulator))
        trial, _ = assemble(identify(Stack.OPENSSL, 3), replace(setting, link=Link.WAN), observed, None)
        assert (trial.outcome, trial.reason) == (Outcome.INVALID if fault else Outcome.OK, fault)
        trial, _ = assemble(identify(Stack.OPENSSL, 3), setting, observed, None)
        assert trial.outcome is Outcome.OK

    def test_what_the_emulator_did_is_written_down(self, identify: Make, observe: Make) -> None:
        observed = observe(3, link=Counters(1, 2, 0, GOOD))
        written = link_sample(identify(Stack.OPENSSL, 3), observed, 40_100.5)
        assert (written.rtt_idle_us, written.delivered, written.dropped) == (40_100.5, 1000, 0)
        assert (written.late_100us, written.late_1ms, written.late_50ms) == (500, 50, 0)
        assert written.emulator_waited_ns == 7_000_000

    def test_counters_subtract(self) -> None:
        used = Counters(1, 1, 1, GOOD) - Counters(0, 0, 0, replace(GOOD, delivered=400, late=(1, 1, 1, 1, 1, 1, 0)))
        assert used.emulator == EmulatorCounters("tun", 600, 0, (499, 99, 49, 19, 10, 9, 0), 0)
        assert (Counters(1, 1, 1, GOOD) - Counters(0, 0, 0)).emulator is None


def inside(link: AnyLink, end: str, do: Callable[[], Any]) -> Any:
    prefix = link.client_argv_prefix if end == "client" else link.server_argv_prefix
    return namespaces.inside(prefix[-2], do)


@contextlib.contextmanager
def served(link: AnyLink, handle: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A plain TCP server at the far end, a thread for each connection."""
    listener = inside(link, "server", lambda: socket.create_server((link.server_address, 0), backlog=200))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                accepted = listener.accept()[0]
            except OSError:
                return
            threads.append(threading.Thread(target=handle, args=(accepted,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()
        for thread in threads:
            thread.join()
        listener.close()


def connected(link: AnyLink, address: tuple[str, int]) -> socket.socket:
    made: socket.socket = inside(link, "client", lambda: socket.create_connection(address, timeout=PATIENCE_S))
    return made


def echo(accepted: socket.socket) -> None:
    with accepted:
        while data := accepted.recv(100):
            accepted.send(data)


BODY = bytes(1_000_000)


def body(accepted: socket.socket) -> None:
    with accepted:
        accepted.recv(1)
        accepted.sendall(BODY)


def download(link: AnyLink, address: tuple[str, int]) -> int:
    with connected(link, address) as client:
        client.send(b"?")
        total = 0
        while data := client.recv(262_144):
            total += len(data)
        return total


@pytest.mark.system
@pytest.mark.root
@needs_root
class TestKernel:
    def test_it_is_what_it_says(self) -> None:
        link = choose("wan", emulator="tun")
        with link.open():
            described = link.describe()
            assert (described["kind"], described["emulated"], described["fell_back"]) == ("wan", True, False)
            assert (described["rate_mbit_s"], described["rtt_ms"]) == (1000, 40)
            assert described["congestion_control"] == {"client": "cubic", "server": "cubic"}
            assert described["tcp_min_tso_segs"] == 44
            least, first, most = str(described["tcp_rmem"]).split()
            assert int(least) < int(first) == int(most)
            assert described["offloads"] == {end: {"checksum": True, "tso": True} for end in ("client", "server")}
            qdiscs = described["qdisc"]
            assert isinstance(qdiscs, list)
            assert [one["kind"] for one in qdiscs] == ["tbf", "tbf"]
            assert link.rtt_idle_us >= 40_000
            assert link.measure() >= 40_000
            assert json.loads(json.dumps(described)) == described
            pid = link.emulator_pid
            assert pid is not None
        ends(pid)

    def test_a_ping_takes_the_round_trip_and_never_less(self) -> None:
        link = choose("wan", emulator="tun", rtt_ms=25)
        with link.open(), served(link, echo) as address, connected(link, address) as client:
            for _ in range(10):
                begun_ns = time.monotonic_ns()
                client.send(b"ping")
                assert client.recv(100) == b"ping"
                assert time.monotonic_ns() - begun_ns >= 25_000_000

    def test_a_hundred_downloads_keep_to_the_rate_and_nothing_is_dropped(self) -> None:
        link = choose("wan", emulator="tun", rate_mbit_s=500)
        with link.open(), served(link, body) as address, ThreadPoolExecutor(100) as pool:
            before, begun_s = link.counters(), time.monotonic()
            sizes = list(pool.map(lambda _: download(link, address), range(100)))
            took_s, used = time.monotonic() - begun_s, link.counters() - before
            assert sizes == [1_000_000] * 100
            assert used.emulator is not None
            assert used.emulator.dropped == 0
            assert used.emulator.delivered > 2000
            assert used.tx_bytes is not None
            assert used.tx_bytes > 100_000_000
            assert took_s >= (100_000_000 - wire_burst(link)) * 8 / 500e6

    def test_a_link_that_somebody_changes_is_noticed(self) -> None:
        link = choose("wan", emulator="tun", rtt_ms=5)
        with link.open():
            inside(link, "server", lambda: slow_down("server"))
            with pytest.raises(LinkError, match=r"has changed under way: the server's token bucket was Bucket\(rate"):
                link.measure()

    def test_a_lost_emulator_is_replaced(self) -> None:
        link = choose("wan", emulator="tun", rtt_ms=5)
        with link.open():
            first = link.emulator_pid
            assert first is not None
            link.restore()
            assert link.emulator_pid == first
            os.kill(first, signal.SIGKILL)
            ends(first)
            assert "was ended by SIGKILL" in link.lost()
            assert link.counters() == Counters(None, None, None)
            link.restore()
            assert link.emulator_pid != first
            assert link.lost() == ""
            assert link.measure() >= 5000
            with served(link, body) as address:
                assert download(link, address) == 1_000_000

    def test_no_tun_device_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tun, "DEVICE", "/dev/net/no-such-device")
        with (
            pytest.raises(LinkUnavailableError, match=r"A TUN device cannot be made here \(No such file.*modprobe tun"),
            Wan(why="", emulator="tun").open(),
        ):
            pass

    def test_a_killed_owner_takes_the_emulator_along(self) -> None:
        program = (
            "import signal\nfrom harness.links import choose\n"
            "with choose('wan', rtt_ms=5, emulator='tun').open() as link:\n"
            "    print(link.emulator_pid, flush=True)\n    signal.pause()\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
            assert owner.stdout is not None
            emulator = int(owner.stdout.readline())
            owner.kill()
        ends(emulator)
        namespaces.sweep()


def wire_burst(link: AnyLink) -> int:
    qdiscs = link.describe()["qdisc"]
    assert isinstance(qdiscs, list)
    return int(qdiscs[0]["burst_bytes"])


def slow_down(interface: str) -> None:
    from pyroute2.iproute import linux

    route: Any = linux.IPRoute
    with route() as ip:
        index = ip.link_lookup(ifname=interface)[0]
        ip.tc("replace", "tbf", index=index, handle="1:", rate="1mbit", burst=20_000, limit=1_000_000)


_ROOTLESS = """
import os
from harness.links import choose
for kind in ("lan", "wan"):
    with choose(kind).open() as link:
        print(kind, link.rtt_idle_us >= (40_000 if kind == "wan" else 0), link.describe()["congestion_control_pinned"])
print(os.listdir("/run/netns"))
"""


@pytest.mark.system
@pytest.mark.root
@needs_root
def test_rootless_in_a_user_namespace_whose_run_is_not_ours() -> None:
    """The script's own /run is read-only; the links cover it in a mount namespace that nobody else sees."""
    before = ours()
    script = 'mount -t tmpfs -o ro none /run && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script, sys.executable, _ROOTLESS],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["lan True True", "wan True True", "[]"]
    assert ours() == before


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()


TUN = ("--set", "emulator=tun")
ONLY_OPENSSL = ("--set", 'stacks=["openssl", "openssl"]')


def link_samples(harness: Program) -> Sequence[LinkSample]:
    return list(read_records(harness.campaign / LINKS, LinkSample))


@pytest.mark.system
@pytest.mark.root
@needs_root
class TestCampaign:
    def test_far_is_the_wan_and_everything_about_it_is_recorded(self, harness: Program) -> None:
        small = ("--set", "levels=[1, 2]", "--blocks", "1", "--set", "warm_up=0", "--no-analysis")
        ended = harness("run", "--preset", "smoke", "--far", *small, *TUN, *ONLY_OPENSSL, "--out", str(harness.out))
        assert ended.code == 0, ended.said
        assert harness.nothing_is_left()
        assert harness.campaign.name.endswith("-smoke-wan")
        assert harness("check", str(harness.campaign)).code == 0
        trials = list(read_records(harness.campaign / "trials.jsonl", Trial))
        samples = link_samples(harness)
        assert [one.trial_id for one in samples] == [trial.trial_id for trial in trials]
        for one in samples:
            assert one.rtt_idle_us is not None
            assert one.rtt_idle_us >= 40_000
            assert one.cpu_emulator is not None
            assert one.cpu_emulator.total_ns > 0
            assert one.emulator == "tun"
            assert one.dropped == 0
        environment = json.loads((harness.campaign / "environment.json").read_text())
        assert environment["link"]["emulated"] is True
        (harness.campaign / LINKS).write_text("")
        found = harness("check", str(harness.campaign))
        assert (found.code, "links.jsonl: has 0 lines for 4 trials." in found.sentence) == (2, True)

    def test_a_killed_emulator_fails_the_trial_and_is_replaced(self, harness: Program) -> None:
        arguments = harness.run_arguments("--link", "wan", *TUN, *ONLY_OPENSSL, levels="[1, 2, 3]")
        with harness.started(*arguments) as running:
            running.until("2/12 trials")
            harness.kill("links/emulator.py")
            ended = running.end()
        assert ended.code == 0, ended.said
        trials = list(read_records(harness.campaign / "trials.jsonl", Trial))
        (lost,) = [trial for trial in trials if trial.outcome is not Outcome.OK]
        if lost.outcome is Outcome.ABORTED:
            assert "The emulator of the link was ended by SIGKILL while it was needed." in ended.sentence
        else:  # its devices go a moment before its end can be seen, and clients may fail in between
            assert lost.outcome is Outcome.FAILED
        assert len({trial.trial_id for trial in trials if trial.outcome is Outcome.OK}) == 12
        assert harness("check", str(harness.campaign)).code == 0
        assert harness.nothing_is_left()
