"""No user has more than the policy allows, whichever worker serves it, and no connection takes more than it may."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.administration.answers import Metrics
from ssa_impl.administration.client import admin_path
from ssa_impl.administration.client import ask as administer
from ssa_impl.administration.protocol import Command
from ssa_impl.daemon.relay import MOST_BYTES
from tests.certificates import authority
from tests.system.crowds import _HELLO, as_nobody, ask, dial
from tests.system.daemons import Daemon, Zygote
from tests.system.holdings import private_bytes
from tests.system.honest import Listener
from tests.system.rogues import mute
from tests.system.servers import serving, tls
from tests.system.test_leaks import generous
from tests.system.test_reload import Governed
from tests.system.waiting import eventually

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: nobody else can become another user")
EACH, ALL = 8, 12
LIMITS = f"[daemon]\nsockets = {ALL}\n[defaults]\nsockets_per_user = {EACH}\n"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Governed]:
    """A daemon that everybody may use."""
    daemon = Governed(tmp_path_factory.mktemp("policy"), LIMITS)
    daemon.path.chmod(0o666)
    daemon.path.parent.chmod(0o755)
    yield daemon
    assert daemon.stop() == 0
    daemon.close()


class Sockets:
    """Secure sockets of this process, as a boundary opens them."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._held = contextlib.ExitStack()
        self.refused: list[str] = []
        self.count = 0

    def open(self, count: int) -> None:
        """Try to have so many more."""
        for _ in range(count):
            channel = dial(self._path)
            answer = ask(channel, _HELLO, socket.AF_INET, os.getpid())[0]
            if answer:
                channel.close()
                self.refused.append(answer)
            else:
                self._held.enter_context(channel)
                self.count += 1

    def tell(self) -> tuple[int, list[str]]:
        """Return how many there are, and how the others were refused."""
        return self.count, self.refused

    def close(self) -> None:
        self._held.close()


def held_by(path: Path, wanted: int) -> list[object]:
    made = Sockets(path)
    made.open(wanted)
    made.close()
    return list(made.tell())


@needs_root
def test_a_limit_is_the_users_in_all_workers_together_and_nobody_elses(limited: Governed) -> None:
    mine = Sockets(limited.path)
    mine.open(EACH + 2)
    assert mine.tell() == (EACH, ["ENOBUFS"] * 2)
    assert as_nobody(lambda: held_by(limited.path, EACH)) == [ALL - EACH, ["ENOBUFS"] * (2 * EACH - ALL)]
    assert f"the limit of {EACH} secure sockets for one user is reached (profile default, sockets_per_user" in (
        log := limited.log()
    )
    assert f"the limit of {ALL} secure sockets for all users is reached" in log
    metrics = administer(admin_path(limited.path), Command("metrics"))
    assert isinstance(metrics, Metrics)
    counted = 'ssa_connection_failures_total{profile="default",role="none",reason="limit"}'
    assert f"{counted} " in metrics.text
    mine.close()
    eventually(lambda: held_by(limited.path, EACH) == [EACH, []])


@needs_root
def test_what_a_worker_had_that_was_killed_counts_no_more(limited: Governed) -> None:
    mine = Sockets(limited.path)
    mine.open(EACH)
    os.kill(limited.workers[0], signal.SIGKILL)
    eventually(lambda: limited.status().workers[0].restarts and limited.status().workers[0].pid)
    mine.open(EACH)
    assert mine.tell() == (EACH + EACH // 2, ["ENOBUFS"] * (EACH // 2))
    mine.close()


def test_a_program_is_told(limited: Governed) -> None:
    zygote = Zygote(limited.path, "tests.system.crowds")
    assert zygote.run("open_until_refused") == [EACH, "ENOBUFS"]
    zygote.stop()


def test_channels_that_never_say_what_they_are_for_give_way(limited: Governed) -> None:
    """They are no sockets yet: of this user's, each worker has no more than 256, and whoever speaks is served."""
    silent = [dial(str(limited.path)) for _ in range(600)]
    poll = select.poll()
    for channel in silent:
        poll.register(channel, 0)  # POLLHUP is reported all the same
    eventually(lambda: len(poll.poll(0)) >= 600 - 2 * 256)
    assert held_by(limited.path, EACH) == [EACH, []]
    for channel in silent:
        channel.close()


# -- memory

CONNECTIONS, HANDSHAKES = 48, 48
_FIRST_MESSAGE = bytes.fromhex("160301 4000 010000c4 0303") + bytes(16_000)  # a ClientHello that does not end


@pytest.fixture
def own(tmp_path: Path) -> dict[str, str]:
    issued = authority().credentials()
    (tmp_path / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return {"chain": str(tmp_path / "chain.pem"), "key": str(tmp_path / "key.pem")}


def test_no_connection_takes_more_memory_than_is_documented(ca: str, own: dict[str, str]) -> None:
    """Readers that are stalled in both directions, and handshakes that do not go on, as client and as server."""
    daemon = Daemon()
    zygote = Zygote(daemon.path, "tests.system.crowds")
    with serving(mute) as silent, serving(tls(generous)) as lavish, contextlib.ExitStack() as peers:
        listener = Listener(zygote.start("echo_server", **own))
        for _ in range(4):
            listener.serves_an_honest_client()  # what is needed once is there

        def taken() -> int:
            return sum(map(private_bytes, daemon.workers))

        before = taken()
        crowd = zygote.start("stuck", port=lavish.port, ca=ca, count=CONNECTIONS)
        waiting = zygote.start("stuck", port=silent.port, ca=ca, count=1)
        for _ in range(HANDSHAKES):
            peer = peers.enter_context(listener.dial())
            peer.sendall(_FIRST_MESSAGE)

        def stalled() -> bool:
            """Both directions are full: each connection has at least what one of them holds back."""
            crowd.say("more")
            crowd.hear()
            return taken() - before > CONNECTIONS * (448 << 10)

        eventually(stalled)
        grown = taken() - before
        assert grown <= (CONNECTIONS + HANDSHAKES + 1) * MOST_BYTES, grown
        Path("/tmp/h/grown").write_text(str(grown / CONNECTIONS / 1024))
        os.kill(waiting.pid, signal.SIGKILL)
        waiting.ended_without_result()
        crowd.say("")
        crowd.result()
        assert listener.heard() == []
    zygote.stop()
    assert daemon.stop() == 0
    daemon.close()
