"""What a service manager gives and hears."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.daemon import notify
from tests.system.daemons import PATIENCE_S, Daemon, environment
from tests.system.waiting import eventually

ACTIVATED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.executable, [sys.executable, "-m", "ssa_impl.cli.ssad", "--workers", "1"])
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(tmp_path / "notify"))
        end.settimeout(90)
        yield end


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID"):
        monkeypatch.delenv(name, raising=False)
    notify.notify("READY=1")
    assert notify.watchdog_s() == 0
    assert notify.listener_given() is None


def test_it_is_told(monkeypatch: pytest.MonkeyPatch, manager: socket.socket) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    notify.notify("READY=1")
    notify.reloading()
    assert manager.recv(100) == b"READY=1"
    first, second = manager.recv(100).decode().splitlines()
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdecimal()


def test_the_watchdog_of_another_process_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2500000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert notify.watchdog_s() == 2.5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert notify.watchdog_s() == 0


def test_a_service_is_activated_reloaded_watched_and_stopped(tmp_path: Path, manager: socket.socket) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()
        more = {"NOTIFY_SOCKET": manager.getsockname(), "LISTEN_FDS": "1", "WATCHDOG_USEC": "400000"}
        with subprocess.Popen(
            [sys.executable, "-c", ACTIVATED, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            env=environment(**more),
        ) as process:
            try:
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["socket"] == str(path)
                heard = [manager.recv(200).decode() for _ in range(2)]
                assert heard == ["READY=1", "WATCHDOG=1"]
                process.send_signal(signal.SIGHUP)
                while not (said := manager.recv(200).decode()).startswith("RELOADING=1"):
                    assert said == "WATCHDOG=1"
                while (said := manager.recv(200).decode()) != "READY=1":
                    assert said == "WATCHDOG=1"
                process.send_signal(signal.SIGTERM)
                while (said := manager.recv(200).decode()) != "STOPPING=1":
                    assert said == "WATCHDOG=1"
                assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()
        assert path.is_socket()  # the manager's


def test_a_worker_that_hangs_silences_the_watchdog(manager: socket.socket) -> None:
    daemon = Daemon(2, NOTIFY_SOCKET=manager.getsockname(), WATCHDOG_USEC="1000000")
    hung = daemon.workers[1]
    try:
        while manager.recv(200) != b"WATCHDOG=1":
            pass
        os.kill(hung, signal.SIGSTOP)
        eventually(lambda: "1 of 2 workers answer" in daemon.log())
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while manager.recv(200):
                pass
        seen = daemon.log().count("1 of 2 workers answer")
        eventually(lambda: daemon.log().count("1 of 2 workers answer") > seen + 2)
        with pytest.raises(BlockingIOError):
            manager.recv(200)
    finally:
        os.kill(hung, signal.SIGCONT)
        manager.settimeout(PATIENCE_S)
    while manager.recv(200) != b"WATCHDOG=1":
        pass
    assert daemon.stop() == 0
    daemon.close()
