"""Peers that kill the program's daemon."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess

from tests.conformance.stage import Stage
from tests.system.daemons import environment, is_alive, ssad_command
from tests.system.waiting import eventually

__all__ = [
    "kills_the_daemon",
    "kills_the_daemon_in_accept",
    "kills_the_daemon_in_the_handshake",
    "only_kills_the_daemon",
    "restarts_the_daemon",
]


def _kill(stage: Stage) -> None:
    """Kill the parent and its workers; wait until they are gone."""
    daemon = stage.daemon
    assert daemon is not None
    workers = daemon.worker_pids()
    daemon.process.kill()
    daemon.process.wait()
    for pid in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def kills_the_daemon(stage: Stage) -> None:
    """Echo while the program talks, and kill when it says so."""
    with stage.meet() as connection, contextlib.suppress(ssl.SSLError, ConnectionError):
        if word := connection.receive(5):
            connection.send(word)
        stage.hear()
        _kill(stage)


def only_kills_the_daemon(stage: Stage) -> None:
    """Kill when told."""
    stage.hear()
    _kill(stage)
    stage.say()


def kills_the_daemon_in_the_handshake(stage: Stage) -> None:
    """Take the TCP connection, and kill."""
    raw = stage.accept_raw()
    raw.recv(1)
    _kill(stage)


def kills_the_daemon_in_accept(stage: Stage) -> None:
    """Kill when the program is about to wait for peers."""
    stage.hear()
    stage.heard_within(0.2)  # it waits by now
    _kill(stage)


def restarts_the_daemon(stage: Stage) -> None:
    """Echo, kill, start another daemon at the same place, and echo again."""
    with stage.accept() as connection:
        connection.send(connection.receive(5))
        stage.hear()
        _kill(stage)
    daemon = stage.daemon
    assert daemon is not None
    with subprocess.Popen(
        ssad_command(daemon.path, 1), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    ) as again:
        try:
            assert again.stdout is not None
            assert '"ready": true' in again.stdout.readline()
            stage.say()
            with stage.accept() as connection:
                connection.echo()
        finally:
            again.terminate()
            assert again.wait(20) == 0
