"""Links: what is parsed, what is chosen and why, and (as root) what the kernel really does."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import links
from harness.links import (
    Counters,
    Link,
    LinkError,
    LinkUnavailableError,
    LinkUsageError,
    choose,
    enter,
    lan,
    loopback,
    namespaces,
    tcp,
    wire,
)
from harness.links.counters import interface_bytes, retransmitted_segments
from harness.links.lan import Lan
from harness.links.loopback import Loopback
from harness.links.remote import Remote, Target, target_of
from tests.webservers.https import get
from webservers import Authority, Content, ServerConfig, make

untimed = settings(deadline=None)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm ActiveOpens RetransSegs OutRsts
Tcp: 1 12 34 5
"""
DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls
 carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0
    0          0
server: 2000300       9    0    0    0     0          0         0 5000600       8    0    0    0     0       0
0
"""


def ours() -> set[str]:
    """Namespaces of this project's making."""
    with contextlib.suppress(FileNotFoundError):
        return {path.name for path in Path(enter.DIRECTORY).iterdir() if namespaces.owner(path.name)}
    return set()


@pytest.fixture(autouse=True)
def no_namespace_is_left() -> Iterator[None]:
    before = ours()
    yield
    mine = f"ssa-{os.getpid()}-"
    assert {name for name in ours() - before if name.startswith(mine)} == set()


class TestTexts:
    def test_segments_sent_again(self) -> None:
        assert retransmitted_segments(SNMP) == 34

    def test_bytes_of_an_interface(self) -> None:
        assert interface_bytes(DEV, "server") == (2000300, 5000600)

    def test_an_interface_that_is_not_there(self) -> None:
        with pytest.raises(ValueError, match="no counters of the interface 'client'"):
            interface_bytes(DEV, "client")

    @untimed
    @given(st.text())
    def test_other_text_is_a_value_error(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 (int's own words, or ours)
            retransmitted_segments(text)
        with pytest.raises(ValueError):  # noqa: PT011
            interface_bytes(text, "server")

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("https://example.test/1MB.bin", Target("example.test", 443, "/1MB.bin")),
            ("https://example.test:8443", Target("example.test", 8443, "/")),
            ("https://[2001:db8::1]:8443/a?b=c", Target("2001:db8::1", 8443, "/a?b=c")),
        ],
    )
    def test_urls(self, url: str, target: Target) -> None:
        assert target_of(url) == target

    @pytest.mark.parametrize(
        "url",
        [
            "http://example.test/",
            "example.test/1MB.bin",
            "https://",
            "https://a:b@example.test/",
            "https://example.test:99999/",
            "https://example.test:0/",
            "https://[::1/",
            "https://example.test/a b",
            "https://example.test/\r\nHost: other",
        ],
    )
    def test_what_is_no_url_is_one_sentence(self, url: str) -> None:
        with pytest.raises(LinkUsageError) as caught:
            target_of(url)
        assert "\n" not in str(caught.value)

    @untimed
    @given(st.one_of(st.text(), st.text().map("https://".__add__)))
    def test_any_text_is_a_target_or_a_usage_error(self, url: str) -> None:
        with contextlib.suppress(LinkUsageError):
            target = target_of(url)
            assert target.host
            assert 0 < target.port < 65536
            assert target.path.startswith("/")
            assert target.path.isprintable()

    def test_the_owner_is_in_the_name(self) -> None:
        assert namespaces.owner("ssa-12-345-0-client") == (12, 345)
        assert namespaces.owner("ssa-12-345-client") is None
        assert namespaces.owner("blue") is None

    def test_processes_have_start_times(self) -> None:
        assert isinstance(namespaces.start_time(os.getpid()), int)
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait()
        assert namespaces.start_time(ended.pid) is None

    def test_counters_subtract_what_is_known(self) -> None:
        assert Counters(5, None, 3) - Counters(1, 7, 3) == Counters(4, None, 0)


class TestChoice:
    def test_an_unknown_kind(self) -> None:
        with pytest.raises(LinkUsageError, match="There is no link 'wifi'; known are auto, loopback, lan, wan, remote"):
            choose("wifi")

    def test_a_remote_without_url(self) -> None:
        with pytest.raises(LinkUsageError, match="needs a URL"):
            choose("remote")

    def test_a_url_with_another_link(self) -> None:
        with pytest.raises(LinkUsageError, match="A URL goes with the link remote, not with lan"):
            choose("lan", url="https://example.test/")

    def test_a_url_is_a_remote(self) -> None:
        link = choose(url="https://example.test/")
        assert link.kind == "remote"
        assert link.why == "A URL was given."

    def test_auto_takes_a_lan_when_it_can_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lan, "check", lambda: None)
        link = choose("auto", rate_mbit_s=100)
        assert (link.kind, link.fell_back) == ("lan", False)

    def test_auto_falls_back_and_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lan, "check", unavailable)
        link = choose("auto")
        assert (link.kind, link.fell_back) == ("loopback", True)
        assert link.why == "A lan cannot be made: no tea; buy some."

    def test_an_explicit_lan_does_not_fall_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lan, "check", unavailable)
        with pytest.raises(LinkUnavailableError, match="no tea; buy some"):
            choose("lan")

    @pytest.mark.parametrize("rate_mbit_s", [0, -1, 30_001, float("nan")])
    def test_a_rate_that_cannot_be(self, rate_mbit_s: float) -> None:
        with pytest.raises(LinkUsageError, match="Mbit/s cannot be made"):
            Lan(why="", rate_mbit_s=rate_mbit_s)

    def test_a_closed_link_says_so(self) -> None:
        for link in (Loopback(why=""), Lan(why=""), Remote("https://example.test/", why="")):
            with pytest.raises(RuntimeError, match="not open"):
                link.counters()
            with pytest.raises(RuntimeError, match="not open"):
                link.describe()


def unavailable(*_args: object) -> Any:
    raise LinkUnavailableError("no tea; buy some.")


_POWERLESS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capset(header, data) == 0
from harness.links import LinkUnavailableError, choose
link = choose("auto")
with link.open():
    described = link.describe()
    print(link.kind, link.fell_back, described["congestion_control_pinned"], described["namespaces"])
print(link.why)
try:
    choose("lan")
except LinkUnavailableError as error:
    print(error)
"""


@pytest.mark.system
def test_without_rights_it_is_loopback_and_says_what_would_help() -> None:
    done = subprocess.run([sys.executable, "-c", _POWERLESS], capture_output=True, text=True, check=True)
    kind, why, refusal = done.stdout.splitlines()
    assert kind == "loopback True False []"
    assert why.startswith("A lan cannot be made: ")
    assert refusal.startswith("A network namespace cannot be made here (")
    assert "run as root" in refusal


@pytest.mark.system
class TestHostsOwn:
    def test_the_hosts_loopback(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loopback, "namespace", unavailable)
        link = Loopback(why="test")
        with link.open():
            assert link.client_argv_prefix == link.server_argv_prefix == ()
            assert link.rtt_idle_us > 0
            used = link.counters() - link.counters()
            assert (used.tx_bytes, used.rx_bytes) == (None, None)
            assert used.retransmitted_segments is not None
            described = link.describe()
            assert described["congestion_control_pinned"] is False
            expected = tcp.setting("tcp_congestion_control")
            assert described["congestion_control"] == {"client": expected, "server": expected}

    def test_a_remote(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
            url = f"https://127.0.0.1:{server.getsockname()[1]}/1MB.bin"
            link = choose(url=url)
            with link.open():
                assert link.server_address == "127.0.0.1"
                assert link.rtt_idle_us > 0
                assert link.client_argv_prefix == ()
                assert link.describe()["url"] == url
                assert link.describe()["emulated"] is False

    def test_a_remote_that_refuses(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with (
            pytest.raises(LinkError, match=f"No TCP connection to 127.0.0.1 port {port}: Connection refused"),
            choose(url=f"https://127.0.0.1:{port}/").open(),
        ):
            pass

    def test_a_remote_that_has_no_address(self) -> None:
        link = choose(url="https://no-such-host.invalid/")
        with pytest.raises(LinkError, match=r"The host 'no-such-host\.invalid' cannot be resolved"), link.open():
            pass


def namespace_of(prefix: tuple[str, ...]) -> str:
    return run(prefix, "readlink", "/proc/self/ns/net")


def run(prefix: tuple[str, ...], *argv: str) -> str:
    return subprocess.run([*prefix, *argv], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.system
@pytest.mark.root
@needs_root
class TestKernel:
    def test_a_lan_is_what_it_says(self) -> None:
        link = choose("lan")
        with link.open():
            described = link.describe()
            assert described["rate_mbit_s"] == 1000
            assert described["emulated"] is True
            assert described["congestion_control"] == {"client": "cubic", "server": "cubic"}
            assert [one["kind"] for one in qdiscs(link)] == ["tbf", "tbf"]
            assert link.rtt_idle_us > 0
            here, client, server = map(namespace_of, ((), link.client_argv_prefix, link.server_argv_prefix))
            assert len({here, client, server}) == 3
        with pytest.raises(RuntimeError, match="not open"):
            link.describe()

    def test_another_rate_is_read_back_from_the_kernel(self) -> None:
        link = choose("lan", rate_mbit_s=12.5)
        with link.open():
            assert link.describe()["rate_mbit_s"] == 12.5
            assert [one["rate_mbit_s"] for one in qdiscs(link)] == [12.5, 12.5]

    def test_every_link_describes_itself_with_the_same_words(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
            remote = choose(url=f"https://127.0.0.1:{server.getsockname()[1]}/")
            described = []
            for link in (choose("lan"), choose("wan"), choose("loopback"), remote):
                with link.open():
                    described.append(set(link.describe()))
        assert set.intersection(*described) >= {
            "kind", "emulated", "why", "fell_back", "server_address", "rate_mbit_s", "rtt_ms", "rtt_idle_us",
            "congestion_control", "congestion_control_pinned", "qdisc",
        }  # fmt: skip

    def test_a_private_loopback_is_pinned_and_not_the_hosts(self) -> None:
        link = choose("loopback")
        with link.open():
            assert link.describe()["congestion_control"] == {"client": "cubic", "server": "cubic"}
            assert link.describe()["congestion_control_pinned"] is True
            assert namespace_of(link.client_argv_prefix) != namespace_of(())
            assert namespace_of(link.client_argv_prefix) == namespace_of(link.server_argv_prefix)

    def test_tcp_forgets_in_the_namespaces_only(self) -> None:
        before = tcp.setting("tcp_no_metrics_save")
        with choose("lan").open() as link:
            for prefix in (link.client_argv_prefix, link.server_argv_prefix):
                assert run(prefix, "cat", "/proc/sys/net/ipv4/tcp_no_metrics_save") == "1"
        assert tcp.setting("tcp_no_metrics_save") == before

    def test_an_unknown_congestion_control_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tcp, "CONGESTION_CONTROL", "tortoise")
        with (
            pytest.raises(
                LinkUnavailableError, match=r"tortoise cannot be made here \(EINVAL\); a kernel with tcp_tor"
            ),
            Lan(why="").open(),
        ):
            pass

    def test_a_bucket_that_the_kernel_refuses_is_one_sentence(self) -> None:
        with choose("lan").open() as link:
            name = name_of(link.client_argv_prefix)
            with pytest.raises(LinkUnavailableError, match=r"\(TBF\) cannot be made here \(EEXIST\); a kernel with"):
                namespaces.inside(name, lambda: wire.shape("client", wire.Bucket(1, 10_000, 10_000)))

    def test_a_lan_without_pyroute2_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pyroute2.iproute", None)
        with (
            pytest.raises(LinkUnavailableError, match="needs pyroute2; `pip install pyroute2`"),
            Lan(why="").open(),
        ):
            pass

    def test_a_server_is_reached_over_the_link_and_its_bytes_are_counted(self, tmp_path: Path) -> None:
        with choose("lan").open() as link:
            issued = Authority.create().issue(tmp_path, addresses=[link.server_address])
            content = Content.write(tmp_path / "www", 1_000_000)
            config = ServerConfig(
                content.path.parent,
                issued.chain,
                issued.key,
                tmp_path / "run",
                address=link.server_address,
                argv_prefix=link.server_argv_prefix,
            )

            async def body() -> Counters:
                async with make("granian", config) as server:
                    before = link.counters()
                    answer = await trio.to_thread.run_sync(
                        namespaces.inside,
                        name_of(link.client_argv_prefix),
                        lambda: get(server.address, server.port, f"/{content.name}", issued.ca),
                    )
                    assert len(answer.body) == content.size_bytes
                    return link.counters() - before

            used = trio.run(body)
            assert used.tx_bytes is not None
            assert 1_000_000 < used.tx_bytes < 1_200_000
            assert used.rx_bytes is not None
            assert 0 < used.rx_bytes < 200_000
            assert used.retransmitted_segments is not None

    def test_a_port_is_free_in_one_namespace_and_taken_in_another(self) -> None:
        with choose("lan").open() as link:
            client, server = name_of(link.client_argv_prefix), name_of(link.server_argv_prefix)
            with (
                namespaces.inside(server, lambda: socket.create_server(("0.0.0.0", 8443))),
                namespaces.inside(client, lambda: socket.create_server(("0.0.0.0", 8443))),
                pytest.raises(OSError, match="in use"),
            ):
                namespaces.inside(server, lambda: socket.create_server(("0.0.0.0", 8443)))

    def test_an_exception_takes_everything_away(self) -> None:
        before = ours()
        with pytest.raises(LookupError, match="2 more"), choose("lan").open():
            raise LookupError(f"{len(ours() - before)} more")
        assert ours() == before

    def test_a_failure_half_way_takes_everything_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = ours()
        monkeypatch.setattr(wire, "shape", unavailable)
        with pytest.raises(LinkUnavailableError, match="no tea"), Lan(why="").open():
            pass
        assert ours() == before

    def test_commands_that_cannot_be(self) -> None:
        with choose("loopback").open() as link:
            done = subprocess.run(
                [*link.client_argv_prefix, "/no/such/program"], capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (
                127,
                "cannot run /no/such/program: No such file or directory\n",
            )
            prefix = link.client_argv_prefix
        done = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert done.stderr.startswith("cannot enter the network namespace ssa-")


def qdiscs(link: Link) -> list[dict[str, Any]]:
    found = link.describe()["qdisc"]
    assert isinstance(found, list)
    return found


def name_of(prefix: tuple[str, ...]) -> str:
    return prefix[-2]


_HOLDER = """
import signal, sys
from harness.links import choose

def on_term(number, frame):
    raise SystemExit(143)

signal.signal(signal.SIGTERM, on_term)
with choose("lan").open() as link:
    print(*link.describe()["namespaces"], flush=True)
    signal.pause()
"""


@contextlib.contextmanager
def holder() -> Iterator[tuple["subprocess.Popen[str]", set[str]]]:
    """Another process that holds a lan open."""
    argv = [sys.executable, "-c", _HOLDER]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, set(process.stdout.readline().split())
        finally:
            process.kill()


@pytest.mark.system
@pytest.mark.root
@needs_root
class TestLeftovers:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_takes_everything_away(self, number: int) -> None:
        with holder() as (process, names):
            assert len(names) == 2
            assert names <= ours()
            process.send_signal(number)
            process.wait(30)
            assert names & ours() == set()

    def test_what_a_killed_run_leaves_is_swept_and_a_living_one_is_let_be(self) -> None:
        with holder() as (living, kept), holder() as (killed, left):
            killed.kill()
            killed.wait(30)
            assert left <= ours()
            swept = set(namespaces.sweep())
            assert left <= swept
            assert left & ours() == set()
            assert kept <= ours()
            living.terminate()
            living.wait(30)

    def test_opening_a_link_sweeps(self) -> None:
        with holder() as (killed, left):
            killed.kill()
            killed.wait(30)
            with choose("loopback").open():
                assert left & ours() == set()


def test_the_package_exports_what_it_says() -> None:
    exported: Callable[..., Link] = links.choose
    assert exported is choose
    assert links.KINDS == ("auto", "loopback", "lan", "wan", "remote")
