"""Workers that are replaced, by a reload or after an accident: what exists goes on, and what is new is served."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssa_impl.administration.interface import Refused
from tests.certificates import authority, context_from_pem
from tests.ssa_impl.validation import pki
from tests.system.daemons import Zygote
from tests.system.honest import Listener
from tests.system.servers import BODY_SHA256, Server, download, hold, serving, tls
from tests.system.test_reload import NEWER, TLS_1_2, TLS_1_3, Governed
from tests.system.waiting import eventually

REVOCATION = """
[defaults.validation]
necessary = ["trust-store-and-hostname", "revocation"]
[defaults.validation.revocation]
sources = ["crl"]
crl_files = ["{file}"]
"""


@pytest.fixture
def governed(tmp_path: Path) -> Iterator[Governed]:
    daemon = Governed(tmp_path)
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()
    daemon.close()


@pytest.fixture
def clients(governed: Governed) -> Iterator[Zygote]:
    made = Zygote(governed.path)
    yield made
    made.stop()


@pytest.fixture
def servers(governed: Governed) -> Iterator[Zygote]:
    made = Zygote(governed.path, "tests.system.crowds")
    yield made
    made.stop()


def own(directory: Path) -> dict[str, str]:
    """Files of a server's certificate and key."""
    issued = authority().credentials()
    (directory / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    return {"chain": str(directory / "chain.pem"), "key": str(directory / "key.pem")}


def states(governed: Governed) -> list[str]:
    return sorted(worker.state for worker in governed.status().workers)


def test_a_reload_names_files_that_no_worker_could_reach(
    governed: Governed, clients: Zygote, servers: Zygote, echoing: Server, ca: str, tmp_path: Path
) -> None:
    listener = Listener(servers.start("echo_server", **own(tmp_path)))
    held = [clients.start("held", port=echoing.port, ca=ca) for _ in range(2)]
    for program in held:
        program.hear()
    peer = pki.leaf()
    (tmp_path / "lists").mkdir()
    (tmp_path / "root.pem").write_bytes(pki.root().pem)
    file = tmp_path / "lists" / "list.crl"
    file.write_bytes(pki.revocation_list())
    with serving(tls(download, context_from_pem(peer.key_pem + peer.pem))) as server:
        unconnected = clients.start("connect_when_told", port=server.port, ca=str(tmp_path / "root.pem"))
        unconnected.hear()
        confined = any("Landlock" in line and "no Landlock" not in line for line in governed.status().hardening)
        assert governed.reload(REVOCATION.format(file=file)).closed == 0
        assert states(governed) == ["ready", "ready"] + ["retired", "retired"] * confined
        for _ in range(4):
            assert clients.run("download", port=server.port, ca=str(tmp_path / "root.pem"))["sha256"] == BODY_SHA256
            listener.serves_an_honest_client()
        unconnected.say()
        assert unconnected.result() == ["", TLS_1_3]
        file.write_bytes(pki.revocation_list(peer))
        assert clients.run("tighten", port=server.port, ca=str(tmp_path / "root.pem"), low=TLS_1_2, high=TLS_1_3) == [
            "EPROTO",
            0,
        ]
    for program in held:
        program.say()
        assert program.result() == "x"
    assert listener.heard() == []
    eventually(lambda: states(governed) == ["ready", "ready"])


def test_what_a_retired_worker_still_carries_at_the_drain_limit_is_broken_and_logged(tmp_path: Path, ca: str) -> None:
    daemon = Governed(tmp_path, "", "--drain-timeout", "0.01")
    clients = Zygote(daemon.path)
    with serving(tls(hold)) as server:
        program = clients.start("hold_version", port=server.port, ca=ca, high=TLS_1_3)
        program.hear()
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "list.crl").write_bytes(pki.revocation_list())
        daemon.reload(REVOCATION.format(file=tmp_path / "lists" / "list.crl"))
        assert daemon.stop() == 0
        assert program.result()[0] == ["", "ECONNRESET"]
    assert daemon.log().count("the daemon ended it (") == 1
    clients.stop()
    daemon.close()


def test_a_listener_is_served_by_a_worker_that_was_replaced(
    governed: Governed, servers: Zygote, tmp_path: Path
) -> None:
    """Its own worker lives; the other one is killed, and its successor takes peers again."""
    listener = Listener(servers.start("echo_server", **own(tmp_path)))
    (there,) = [worker for worker in governed.status().workers if worker.sockets]
    (other,) = [worker for worker in governed.status().workers if worker.index != there.index]
    os.kill(other.pid, signal.SIGKILL)
    eventually(lambda: states(governed) == ["ready", "ready"] and other.pid not in governed.worker_pids())
    for _ in range(8):
        listener.serves_an_honest_client()
    assert listener.heard() == []


def test_a_worker_that_is_killed_in_a_reload_leaves_one_policy_everywhere(
    governed: Governed, clients: Zygote, ca: str
) -> None:
    doomed = governed.workers[0]
    os.kill(doomed, signal.SIGSTOP)
    outcome: list[str] = []

    def reload() -> None:
        try:
            governed.reload(NEWER)
        except Refused as refused:
            outcome.extend(refused.complaints)
        else:
            outcome.append("")

    asking = threading.Thread(target=reload)
    asking.start()
    os.kill(doomed, signal.SIGKILL)
    asking.join(90)
    assert outcome in ([""], ["worker 0 ended while it prepared the policy; try again"])
    eventually(lambda: states(governed) == ["ready", "ready"] and doomed not in governed.worker_pids())
    expected = "EPROTO" if outcome == [""] else ""
    assert {clients.run("ask_for_version", ca=ca, low=TLS_1_2)[0] for _ in range(4)} == {expected}
    governed.reload(NEWER)
    assert {clients.run("ask_for_version", ca=ca, low=TLS_1_2)[0] for _ in range(4)} == {"EPROTO"}
