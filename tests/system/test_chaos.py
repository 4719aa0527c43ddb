"""What is not supposed to happen, all at once and under load: nothing in the clear, no hang, no harm to bystanders."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import ssl
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.administration.interface import Refused
from tests.certificates import authority
from tests.system import daemons
from tests.system.daemons import Program, Zygote, is_alive
from tests.system.servers import Server, echo, serving
from tests.system.test_reload import NEWER, Governed
from tests.system.waiting import eventually

PROGRAMS, ROUNDS, KILLS = 6, 60, 5
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may mount a file system that is full")


def nothing_but_tls(connection: socket.socket, server: Server) -> None:
    """Echo; what does not begin as TLS, or is no record of it later, is the test's failure."""
    first = connection.recv(1, socket.MSG_PEEK)
    assert first in {b"", b"\x16"}, first
    try:
        with server_context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False) as secured:
            server.seen.put(echo(secured, server))
    except ssl.SSLEOFError:  # whoever was killed
        pass
    except ConnectionError:
        pass


server_context = authority().server_context()


@pytest.fixture
def peer() -> Iterator[Server]:
    with serving(nothing_but_tls) as server:
        yield server


@pytest.fixture
def governed(tmp_path: Path) -> Iterator[Governed]:
    daemon = Governed(tmp_path, "", "--log-connections", "all")
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()
    daemon.close()


@pytest.fixture
def clients(governed: Governed) -> Iterator[Zygote]:
    made = Zygote(governed.path, "tests.system.crowds")
    yield made
    made.stop()


def crowd(clients: Zygote, peer: Server, ca: str) -> list[Program]:
    return [clients.start("persist", port=peer.port, ca=ca, rounds=ROUNDS, seed=seed) for seed in range(PROGRAMS)]


def outcomes(programs: list[Program]) -> Counter[str]:
    total: Counter[str] = Counter()
    for program in programs:
        total.update(program.result())
    assert sum(total.values()) == len(programs) * ROUNDS
    return total


def bystander(clients: Zygote, peer: Server, ca: str, worker: int) -> Program:
    """A connection of this worker's, held until the end."""
    while True:
        program = clients.start("neighbour", port=peer.port, ca=ca)
        if program.hear() == worker:
            return program
        end(program)


def still_there(program: Program) -> None:
    program.say("still there")
    assert program.hear() == "still there"


def end(program: Program) -> None:
    program.say("")
    program.result()


def test_workers_are_killed_at_random(governed: Governed, clients: Zygote, peer: Server, ca: str) -> None:
    moments = random.Random(1)
    neighbour = bystander(clients, peer, ca, 1)
    programs = crowd(clients, peer, ca)
    for killed in range(1, KILLS + 1):
        victim = eventually(lambda: governed.status().workers[0].pid)  # 0 while there is none
        still_there(neighbour)
        with pytest.raises(subprocess.TimeoutExpired):
            governed.process.wait(moments.uniform(0, 0.2))
        os.kill(victim, signal.SIGKILL)
        eventually(lambda killed=killed: governed.status().workers[0].restarts == killed)  # type: ignore[misc]
    total = outcomes(programs)
    assert {word.split()[-1] for word in total} <= {"ok", "ECONNRESET", "EPIPE", "ENOTCONN"}, total
    assert total["ok"] >= (ROUNDS - KILLS) * PROGRAMS, total  # each kill costs each program a connection at most
    still_there(neighbour)
    end(neighbour)
    assert governed.log().count("ended with -9; starting another") == KILLS


def test_a_call_that_is_interrupted_again_and_again_is_one_request(
    governed: Governed, clients: Zygote, ca: str
) -> None:
    """The daemon does not answer for as long as thousands of repetitions take."""
    program = clients.start("set_under_a_timer", ca=ca)
    program.hear()
    for pid in governed.workers:
        os.kill(pid, signal.SIGSTOP)
    program.say()
    program.hear()
    with pytest.raises(subprocess.TimeoutExpired):
        governed.process.wait(2)
    for pid in governed.workers:
        os.kill(pid, signal.SIGCONT)
    assert program.result() == ""


def test_the_parent_is_killed(governed: Governed, clients: Zygote, peer: Server, ca: str) -> None:
    programs = crowd(clients, peer, ca)
    workers = governed.worker_pids()
    governed.process.kill()
    governed.process.wait()
    total = outcomes(programs)
    assert total["socket ENOTCONN"] > 0, total
    assert {word.split()[-1] for word in total} <= {"ok", "ECONNRESET", "EPIPE", "ENOTCONN"}, total
    for pid in workers:
        eventually(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]


def test_a_policy_is_edited_badly_while_it_is_used(
    governed: Governed, clients: Zygote, peer: Server, ca: str, tmp_path: Path
) -> None:
    neighbour = bystander(clients, peer, ca, 0)
    programs = crowd(clients, peer, ca)
    for bad in ('version_min = "1.3', '[profile.default]\nversion_min = "1.4"', "trust_store = []"):
        with pytest.raises(Refused):
            governed.reload(bad)
        assert governed.status().policy.failure
        governed.reload(NEWER)
        assert not governed.status().policy.failure
    assert outcomes(programs) == {"ok": PROGRAMS * ROUNDS}
    still_there(neighbour)
    end(neighbour)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "ssa-test", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> None:
    """Take the room that is left."""
    with (disk / "junk").open("wb", buffering=0) as junk, contextlib.suppress(OSError):
        while True:
            junk.write(bytes(512))
    assert os.statvfs(disk).f_bavail == 0


@needs_root
def test_the_disk_of_the_key_log_is_full(
    governed: Governed, clients: Zygote, peer: Server, ca: str, small_disk: Path
) -> None:
    governed.reload(f'[defaults]\nkey_log = "{small_disk / "keys"}"\n')
    fill(small_disk)
    assert outcomes(crowd(clients, peer, ca)) == {"ok": PROGRAMS * ROUNDS}
    said = f"secrets are missing from the policy's key log {small_disk / 'keys'}: No space left on device"
    assert 1 <= governed.log().count(said) <= len(governed.workers) + 2  # once for each worker, old and new


@needs_root
def test_the_disk_of_the_log_is_full(
    tmp_path: Path, peer: Server, ca: str, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemons, "open_log", lambda: (small_disk / "log").open("w+"))
    daemon = Governed(tmp_path, "", "--log-connections", "all")
    monkeypatch.undo()
    fill(small_disk)
    clients = Zygote(daemon.path, "tests.system.crowds")
    assert outcomes(crowd(clients, peer, ca)) == {"ok": PROGRAMS * ROUNDS}
    assert len(daemon.status().workers) == 2
    clients.stop()
    (small_disk / "junk").unlink()
    assert daemon.stop() == 0
    daemon.close()


def test_a_file_of_the_policy_is_gone(
    governed: Governed, clients: Zygote, peer: Server, ca: str, tmp_path: Path
) -> None:
    """A reload that needs it is refused; what was read before counts on."""
    store = tmp_path / "store.pem"
    store.write_bytes(authority().anchors_pem)
    text = f'[defaults]\ntrust_store = ["{store}"]\n'
    governed.reload(text)
    store.unlink()
    with pytest.raises(Refused):
        governed.reload(text)
    assert "No such file" in governed.status().policy.failure
    assert outcomes(crowd(clients, peer, ca)) == {"ok": PROGRAMS * ROUNDS}
    os.kill(governed.workers[0], signal.SIGKILL)
    eventually(lambda: governed.status().workers[0].restarts == 1 and governed.status().workers[0].pid)
    assert outcomes(crowd(clients, peer, ca)) == {"ok": PROGRAMS * ROUNDS}
