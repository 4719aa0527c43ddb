"""Another policy while programs run: for whom it counts, for whom it does not, and how the daemon ends in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ssa_impl.administration.answers import Reloaded, Status
from ssa_impl.administration.client import admin_path, ask
from ssa_impl.administration.interface import Refused
from ssa_impl.administration.protocol import Command, ReloadWanted
from tests.system.daemons import PATIENCE_S, Daemon, Zygote
from tests.system.servers import Server, hold, serving, tls
from tests.system.waiting import eventually

StartZygote = Callable[[Daemon], Zygote]
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
NEWER = '[profile.default]\nversion_min = "1.3"\n'


class Governed(Daemon):
    """A daemon whose policy can be edited."""

    def __init__(self, directory: Path, text: str = "", *options: str) -> None:
        self.file = directory / "ssa.toml"
        self.file.write_text(text)
        super().__init__(2, self.file, *options)

    def reload(self, text: str, *, enforce: bool = False) -> Reloaded:
        """Edit the policy and have it loaded."""
        self.file.write_text(text)
        answer = ask(admin_path(self.path), Command("reload", ReloadWanted(enforce)))
        assert isinstance(answer, Reloaded)
        return answer

    def status(self) -> Status:
        answer = ask(admin_path(self.path), Command("status"))
        assert isinstance(answer, Status)
        return answer


@pytest.fixture
def governed(tmp_path: Path) -> Iterator[Governed]:
    daemon = Governed(tmp_path)
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()
    daemon.close()


def test_new_connections_have_the_new_policy_and_open_ones_go_on(
    governed: Governed, start_zygote: StartZygote, echoing: Server, web: Server, ca: str
) -> None:
    zygote = start_zygote(governed)
    connected = [zygote.start("held", port=echoing.port, ca=ca) for _ in range(4)]
    for program in connected:
        program.hear()
    unconnected = zygote.start("connect_when_told", port=web.port, ca=ca)
    unconnected.hear()
    assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == ""
    assert governed.reload(NEWER).closed == 0
    for _ in range(4):  # whichever worker it comes to
        assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == "EPROTO"
    unconnected.say()
    assert unconnected.result() == ["", TLS_1_3]
    for program in connected:
        program.say()
        assert program.result() == "x"


def test_sessions_are_resumed_whichever_worker_serves_until_the_policy_is_another(
    governed: Governed, start_zygote: StartZygote, echoing: Server, ca: str
) -> None:
    zygote = start_zygote(governed)
    for first_is_resumed in (0, 1):
        seen = zygote.run("resume", port=echoing.port, ca=ca, count=4)
        assert {worker for worker, _ in seen} == {0, 1}
        assert [resumed for _, resumed in seen] == [first_is_resumed, 1, 1, 1]
    governed.reload("")
    assert [resumed for _, resumed in zygote.run("resume", port=echoing.port, ca=ca, count=3)] == [0, 1, 1]


def test_sighup_reloads(governed: Governed, start_zygote: StartZygote, ca: str) -> None:
    zygote = start_zygote(governed)
    before = governed.status().policy.loaded_at_s
    governed.file.write_text(NEWER)
    governed.process.send_signal(signal.SIGHUP)
    eventually(lambda: governed.status().policy.loaded_at_s > before)
    assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == "EPROTO"


def test_a_bad_edit_changes_nothing(governed: Governed, start_zygote: StartZygote, ca: str) -> None:
    zygote = start_zygote(governed)
    governed.reload(NEWER)
    with pytest.raises(Refused) as caught:
        governed.reload('[profile.default]\nversion_min = "TLSv9"\nno_such_key = 1\n')
    assert len(caught.value.complaints) == 2
    assert governed.status().policy.failure
    assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == "EPROTO"
    governed.reload("")
    assert not governed.status().policy.failure
    assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == ""


def test_enforce_ends_what_the_new_policy_forbids_and_nothing_else(
    governed: Governed, start_zygote: StartZygote, echoing: Server, ca: str
) -> None:
    zygote = start_zygote(governed)
    with serving(tls(hold)) as server:
        older = [zygote.start("hold_version", port=server.port, ca=ca, high=TLS_1_2) for _ in range(3)]
        assert [program.hear() for program in older] == [TLS_1_2] * 3
        newer = zygote.start("held", port=echoing.port, ca=ca)
        newer.hear()
        assert governed.reload(NEWER).closed == 0
        assert governed.reload(NEWER, enforce=True).closed == 3
        for program in older:
            ended, why = program.result()
            assert ended == ["", "ECONNRESET"]
            assert "version 0x0303" in why
        newer.say()
        assert newer.result() == "x"


def test_a_worker_that_is_started_later_has_the_new_policy(
    governed: Governed, start_zygote: StartZygote, ca: str
) -> None:
    zygote = start_zygote(governed)
    governed.reload(NEWER)
    for pid in governed.worker_pids():
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(worker.state == "ready" for worker in governed.status().workers))
    for _ in range(4):
        assert zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[0] == "EPROTO"


def test_rules_that_come_with_a_reload_know_who_is_there_already(
    governed: Governed, start_zygote: StartZygote, web: Server, ca: str
) -> None:
    zygote = start_zygote(governed)
    there = zygote.start("connect_when_told", port=web.port, ca=ca)
    there.hear()
    rule = f"[[application]]\nuser = {os.getuid()}\nprofile = 'newer'\n[profile.newer]\nversion_min = '1.3'\n"
    governed.reload(rule)
    there.say()
    assert there.result() == ["", TLS_1_3]
    assert "newer" in zygote.run("ask_for_version", ca=ca, low=TLS_1_2)[1]


def test_it_drains_before_it_ends(tmp_path: Path, start_zygote: StartZygote, echoing: Server, ca: str) -> None:
    daemon = Governed(tmp_path, "", "--drain-timeout", "90")
    zygote = start_zygote(daemon)
    connected = zygote.start("held", port=echoing.port, ca=ca)
    connected.hear()
    daemon.process.send_signal(signal.SIGTERM)
    eventually(lambda: not daemon.path.exists())
    assert zygote.run("no_daemon") == "ENOTCONN"
    assert daemon.status().draining
    connected.say()
    assert connected.result() == "x"
    assert daemon.process.wait(PATIENCE_S) == 0
    daemon.stop()
    daemon.close()


def test_a_second_signal_ends_it_now(tmp_path: Path, start_zygote: StartZygote, ca: str) -> None:
    daemon = Governed(tmp_path, "", "--drain-timeout", "3600")
    zygote = start_zygote(daemon)
    with serving(tls(hold)) as server:
        connected = zygote.start("hold_version", port=server.port, ca=ca, high=TLS_1_3)
        connected.hear()
        daemon.process.send_signal(signal.SIGTERM)
        eventually(lambda: not daemon.path.exists())
        assert daemon.stop() == 0
        assert connected.result()[0] == ["", "ECONNRESET"]
    daemon.close()
