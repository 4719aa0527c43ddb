"""Descriptors that travel, many processes, signals, and programs that are killed."""

from __future__ import annotations

import os
import signal

import pytest

from tests.system.daemons import Daemon, Zygote
from tests.system.servers import BODY_SHA256, Server, download, flood, hold, serving, stall, tls


def test_dup_and_fork(zygote: Zygote, echoing: Server, ca: str) -> None:
    assert zygote.run("dup_and_fork", port=echoing.port, ca=ca) == ["127.0.0.1", "TLS_", "child TLS_", "parent"]
    assert echoing.word() == "in order"


def test_exec(zygote: Zygote, echoing: Server, ca: str) -> None:
    assert zygote.run("exec_with_descriptor", port=echoing.port, ca=ca) == "exec 772 127.0.0.1 AF_INET 205"


def test_a_descriptor_in_a_message(zygote: Zygote, echoing: Server, ca: str) -> None:
    assert zygote.run("pass_descriptor", port=echoing.port, ca=ca) == "passedTLS_"


def test_a_socket_outlives_the_process_that_made_it(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("fork_before_connect", port=web.port, ca=ca) == BODY_SHA256


def test_a_hundred_clients_of_one_parent_spread_over_the_workers(zygote: Zygote, web: Server, ca: str) -> None:
    got = zygote.run("fork_from_parent", port=web.port, ca=ca, count=100)
    assert {digest for digest, _ in got} == {BODY_SHA256}
    served = [sum(worker == index for _, worker in got) for index in (0, 1)]
    assert sum(served) == 100
    assert min(served) >= 30, served
    assert [web.word() for _ in range(100)] == ["in order"] * 100


def test_threads(zygote: Zygote, web: Server, ca: str) -> None:
    assert zygote.run("threads", port=web.port, ca=ca, count=10) == [BODY_SHA256] * 10


@pytest.mark.parametrize("restart", [True, False], ids=["SA_RESTART", "no SA_RESTART"])
def test_a_signal_every_millisecond(zygote: Zygote, web: Server, ca: str, restart: bool) -> None:
    assert zygote.run("under_a_timer", port=web.port, ca=ca, restart=restart, count=20) == [[BODY_SHA256], True]


def test_a_blocking_connect_can_be_broken_off(daemon: Daemon, zygote: Zygote, ca: str) -> None:
    baseline = daemon.descriptors()
    with serving(stall) as server:
        program = zygote.start("interrupted", port=server.port, ca=ca)
        program.hear()
        server.caller()
        os.kill(program.pid, signal.SIGINT)
        assert program.result() == "interrupted"
        assert server.word() in {"client ended", "client reset"}
    daemon.settle(baseline)


STAGES = ["opened", "connecting", "connecting in the background", "connected", "writing"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_program_that_is_killed_leaves_nothing_behind(stage: str, daemon: Daemon, zygote: Zygote, ca: str) -> None:
    baseline = daemon.descriptors()
    behave = stall if stage.startswith("connecting") else tls(hold)
    with serving(behave) as server:
        programs = [zygote.start("connect_and_stop", port=server.port, ca=ca, stage=stage) for _ in range(3)]
        for program in programs:
            program.hear()
            if stage != "opened":
                server.caller()
        for program in programs:
            os.kill(program.pid, signal.SIGKILL)
            program.ended_without_result()
        if stage == "writing":  # its last words are still read, until the test lets go
            server.released.set()
        words = [server.word() for _ in programs] if stage != "opened" else []
        assert set(words) <= {"client ended", "client reset", "released", "ConnectionResetError"}, words
    daemon.settle(baseline)


def test_a_program_killed_in_a_download_leaves_nothing_behind(daemon: Daemon, zygote: Zygote, ca: str) -> None:
    baseline = daemon.descriptors()
    with serving(tls(flood)) as server:
        program = zygote.start("connect_and_stop", port=server.port, ca=ca, stage="connected")
        program.hear()
        os.kill(program.pid, signal.SIGKILL)
        program.ended_without_result()
        server.released.set()
        assert server.word() == "in order"
    daemon.settle(baseline)


def test_two_thousand_sockets_one_after_the_other(daemon: Daemon, zygote: Zygote) -> None:
    baseline = daemon.descriptors()
    assert zygote.run("open_and_close", count=2000) == 2000
    daemon.settle(baseline)


def test_two_hundred_sockets_at_once(daemon: Daemon, zygote: Zygote, echoing: Server, ca: str) -> None:
    baseline = daemon.descriptors()
    assert zygote.run("many_open", port=echoing.port, ca=ca, count=200) == 200
    assert [echoing.word() for _ in range(200)] == ["in order"] * 200
    daemon.settle(baseline)


def test_what_every_way_to_end_leaves_behind(daemon: Daemon, zygote: Zygote, web: Server, ca: str) -> None:
    baseline = daemon.descriptors()
    for name in ("download", "with_asyncio"):
        zygote.run(name, port=web.port, ca=ca)
    with serving(tls(download)) as server:
        zygote.run("fail_then_retry", port=server.port, ca=ca, name="wrong.example", good_port=web.port)
        zygote.run("fail_without_blocking", port=server.port, ca=ca, name="wrong.example")
    daemon.settle(baseline)
