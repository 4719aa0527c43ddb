"""The fleet as a process, against servers that behave and servers that do not."""

import errno
import hashlib
import os
import re
import resource
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from harness.clients.native import built
from harness.errors import CannotError, PartyLostError
from harness.parties import Daemon, Fleet, Party
from harness.records import Boundary, Stack
from harness.routes import route
from tests.harness.scripted import Handler, Peer, ScriptedServer
from webservers import Authority, Credentials

pytestmark = pytest.mark.system

BODY = bytes(range(256)) * 40
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
PATIENCE_S = 30.0
SHORT_S = 0.3


def leaf_sha256(credentials: Credentials) -> str:
    leaf, end, _ = credentials.chain.read_text().partition("-----END CERTIFICATE-----\n")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf + end)).hexdigest()


def well(peer: Peer) -> None:
    peer.answer(HEAD + BODY)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture
def credentials(authority: Authority, tmp_path: Path) -> Credentials:
    return authority.issue(tmp_path / "certificates")


@pytest.fixture(params=[Stack.OPENSSL, Stack.SSA, Stack.OPENSSL_C, Stack.SSA_C])
def stack(request: pytest.FixtureRequest) -> Stack:
    return request.param


@asynccontextmanager
async def fleet_in(directory: Path, stack: Stack = Stack.OPENSSL) -> AsyncIterator[Fleet]:
    """A fleet of that stack, and the daemon that it needs."""
    short = Path(tempfile.mkdtemp(prefix="ssa-test-"))
    daemon = Daemon(short, 2, ()) if stack.is_ssa else None
    socket = daemon.socket if daemon is not None else None
    program = built(stack) if stack.is_c else None
    fleet = Fleet(route(stack, Boundary.SECCOMP), directory / "fleet.log", (), socket, program)
    try:
        if daemon is not None:
            await daemon.start()
        await fleet.start()
        yield fleet
    finally:
        await fleet.stop()
        if daemon is not None:
            await daemon.stop()
        shutil.rmtree(short)


def download(
    credentials: Credentials, directory: Path, handler: Handler, n: int, seconds: float, stack: Stack
) -> list[Any]:
    """One whole trial; the reports."""

    async def main() -> list[Any]:
        with ScriptedServer(credentials, handler) as server:
            async with fleet_in(directory, stack) as fleet:
                ready = await fleet.prepare(server.target(len(BODY)), n, PATIENCE_S)
                assert ready["in_time"]
                done = await fleet.release(seconds)
                assert done["in_time"] == (seconds == PATIENCE_S)
                reports = await fleet.collect(PATIENCE_S)
                assert all(not Path(f"/proc/{pid}").exists() for pid in ready["pids"])
                return reports

    return trio.run(main)


def test_everybody_downloads(credentials: Credentials, tmp_path: Path, stack: Stack) -> None:
    reports = download(credentials, tmp_path, well, 5, PATIENCE_S, stack)
    assert [report["process"] for report in reports] == [0, 1, 2, 3, 4]
    for report in reports:
        assert report["ok"], report["error"]
        assert report["body_bytes"] == len(BODY)
        assert (report["tls_version"], report["tls_alpn"], report["tls_resumed"]) == ("TLSv1.3", "", False)
        assert report["peer_certificate_sha256"] == leaf_sha256(credentials)
        seen = ("released", "tcp", "tls", "first_byte", "last_byte")
        phases = [report.get(f"{phase}_offset_ns") for phase in seen]
        assert (phases[1] is None) == stack.is_ssa
        del phases[1]
        assert phases == sorted(phases)
    assert len({report["pid"] for report in reports}) == 5
    assert len({report["body_sha256"] for report in reports}) == 1


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (lambda peer: peer.answer(HEAD + BODY[:9]), "The connection broke: Unexpected EOF."),
        (lambda peer: peer.answer(b"HTTP/1.1 404 Not Found\r\n\r\n"), "answered 404 Not Found instead of 200."),
        (lambda peer: peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"), "has 99999 bytes"),
        (lambda _: None, "The connection broke|TLS failed"),
    ],
)
def test_a_server_that_lies(
    handler: Handler, error: str, credentials: Credentials, tmp_path: Path, stack: Stack
) -> None:
    (report,) = download(credentials, tmp_path, handler, 1, PATIENCE_S, stack)
    assert not report["ok"]
    if not stack.is_ssa:
        assert re.search(error, report["error"])
    else:
        assert report["error"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("expired", "TLS failed: certificate verify failed: certificate has expired."),
        ("wrong-name", "The certificate is not for server.ssa.test."),
        ("untrusted", "TLS failed: certificate verify failed: "),
    ],
)
def test_a_certificate_that_is_refused(
    fault: str, error: str, authority: Authority, tmp_path: Path, stack: Stack
) -> None:
    if fault == "untrusted":
        credentials = Authority.create().issue(tmp_path / "other")
        credentials.ca.write_bytes(authority.pem)
    else:
        credentials = authority.issue(tmp_path / "bad", fault=fault)
    (report,) = download(credentials, tmp_path, well, 1, PATIENCE_S, stack)
    if not stack.is_ssa:
        assert report["error"].startswith(error)
    else:
        assert report["errno"] == errno.EPROTO
        assert report["error"]


def test_a_server_that_refuses(credentials: Credentials, tmp_path: Path, stack: Stack) -> None:
    async def main() -> Any:
        with ScriptedServer(credentials, well) as server:
            target = server.target(len(BODY))
        async with fleet_in(tmp_path, stack) as fleet:
            await fleet.prepare(target, 2, PATIENCE_S)
            await fleet.release(PATIENCE_S)
            return await fleet.collect(PATIENCE_S)

    for report in trio.run(main):
        assert "refused" in report["error"]
        assert report["errno"] == errno.ECONNREFUSED


def stall_in_handshake(peer: Peer) -> None:
    peer.stall()


def stall_before_answer(peer: Peer) -> None:
    peer.answer(b"")
    peer.stall()


def stall_in_body(peer: Peer) -> None:
    peer.answer(HEAD + BODY[:100])
    peer.stall()


@pytest.mark.parametrize(
    ("handler", "doing"),
    [
        (stall_in_handshake, "in the TLS handshake"),
        (stall_before_answer, "while waiting for the answer's first byte"),
        (stall_in_body, "in the middle of the body"),
    ],
)
def test_a_server_that_stalls(
    handler: Handler, doing: str, credentials: Credentials, tmp_path: Path, stack: Stack
) -> None:
    reports = download(credentials, tmp_path, handler, 2, SHORT_S, stack)
    if stack.is_ssa:
        doing = doing.replace("in the TLS handshake", "while connecting")
    for report in reports:
        assert report["late"]
        assert report["error"] == f"Not finished in time: it was still {doing}."


def test_one_late_process_does_not_disturb_the_others(credentials: Credentials, tmp_path: Path) -> None:
    first = iter([True])

    def handler(peer: Peer) -> None:
        if next(first, False):
            stall_in_body(peer)
        else:
            well(peer)

    reports = download(credentials, tmp_path, handler, 4, 5 * SHORT_S, Stack.OPENSSL)
    assert sorted(report["ok"] for report in reports) == [False, True, True, True]


def test_a_client_that_dies_is_reported(credentials: Credentials, tmp_path: Path, stack: Stack) -> None:
    async def main() -> Any:
        with ScriptedServer(credentials, well) as server:
            async with fleet_in(tmp_path, stack) as fleet:
                ready = await fleet.prepare(server.target(len(BODY)), 3, PATIENCE_S)
                os.kill(ready["pids"][1], signal.SIGKILL)
                assert (await fleet.release(PATIENCE_S))["in_time"]
                return await fleet.collect(PATIENCE_S)

    reports = trio.run(main)
    assert [report["ok"] for report in reports] == [True, False, True]
    assert reports[1]["error"] == "The process was ended by SIGKILL while waiting for the release."


def test_who_is_never_ready_is_late(credentials: Credentials, tmp_path: Path) -> None:
    async def main() -> Any:
        with ScriptedServer(credentials, well) as server:
            async with fleet_in(tmp_path) as fleet:
                ready = await fleet.prepare(server.target(len(BODY)), 3, 0.0)
                assert not ready["in_time"]
                return await fleet.collect(0.0)

    assert all(report["late"] and not report["ok"] for report in trio.run(main))


def test_an_unreadable_ca_is_reported_by_each(credentials: Credentials, tmp_path: Path, stack: Stack) -> None:
    credentials.ca.write_text("nothing")
    (report, _) = download(credentials, tmp_path, well, 2, PATIENCE_S, stack)
    assert report["error"].startswith("The client could not be made ready:")


@pytest.mark.parametrize("how", ["stdin closes", "killed"])
def test_no_client_outlives_its_fleet(how: str, credentials: Credentials, tmp_path: Path, stack: Stack) -> None:
    async def main() -> None:
        with ScriptedServer(credentials, stall_in_body) as server:
            async with fleet_in(tmp_path, stack) as fleet, trio.open_nursery() as nursery:
                ready = await fleet.prepare(server.target(len(BODY)), 3, PATIENCE_S)
                ends = [os.pidfd_open(pid) for pid in ready["pids"]]

                async def release() -> None:
                    with pytest.raises((PartyLostError, trio.ClosedResourceError, trio.Cancelled)):
                        await fleet.release(PATIENCE_S)

                if how == "killed":
                    nursery.start_soon(release)
                    await trio.testing.wait_all_tasks_blocked()
                    os.kill(fleet.hello["pid"], signal.SIGKILL)
                else:
                    await fleet.stop()
                for end in ends:
                    with trio.fail_after(PATIENCE_S):
                        await trio.lowlevel.wait_readable(end)
                    os.close(end)

    trio.run(main)


def test_a_worker_that_the_daemon_has_replaced_is_counted_too_and_noticed() -> None:
    short = Path(tempfile.mkdtemp(prefix="ssa-test-"))
    daemon = Daemon(short, 2, ())

    async def main() -> None:
        try:
            await daemon.start()
            assert daemon.workers == 2
            assert daemon.intact
            *others, worker = daemon.pids
            os.kill(worker, signal.SIGKILL)
            with trio.fail_after(PATIENCE_S):
                while len(daemon.pids) != 3 or worker in daemon.pids:
                    await trio.sleep(0.01)
            assert set(others) < set(daemon.pids)
            assert not daemon.intact
        finally:
            await daemon.stop()
            shutil.rmtree(short)

    trio.run(main)


def test_a_daemon_that_dies_ends_the_trial_not_the_harness(credentials: Credentials, tmp_path: Path) -> None:
    """The clients see an error or the fleet is lost; nobody hangs, and nobody reports success."""

    async def main() -> None:
        with ScriptedServer(credentials, stall_in_body) as server:
            daemon = Daemon(short, 2, ())
            fleet = Fleet(route(Stack.SSA, Boundary.SECCOMP), tmp_path / "fleet.log", (), daemon.socket)
            try:
                await daemon.start()
                await fleet.start()
                await fleet.prepare(server.target(len(BODY)), 3, PATIENCE_S)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(expect_no_success, fleet)
                    await trio.to_thread.run_sync(server.connected.wait)
                    for pid in daemon.pids:
                        os.kill(pid, signal.SIGKILL)
                assert "SSA daemon" in await daemon.watch()
            finally:
                await fleet.stop()
                await daemon.stop()

    async def expect_no_success(fleet: Fleet) -> None:
        assert (await fleet.release(PATIENCE_S))["in_time"]
        assert not any(report["ok"] for report in await fleet.collect(PATIENCE_S))

    short = Path(tempfile.mkdtemp(prefix="ssa-test-"))
    trio.run(main)
    shutil.rmtree(short)


def test_too_many_clients_are_said_in_one_sentence(credentials: Credentials, tmp_path: Path) -> None:
    async def main() -> None:
        with ScriptedServer(credentials, well) as server:
            async with fleet_in(tmp_path) as fleet:
                resource.prlimit(fleet.pid, resource.RLIMIT_NOFILE, (20, 20))
                with pytest.raises(PartyLostError, match=r"The clients could not be started: Too many open files\."):
                    await fleet.prepare(server.target(len(BODY)), 50, PATIENCE_S)

    trio.run(main)


class Says(Party):
    def __init__(self, script: str, log: Path) -> None:
        super().__init__("speaker", log)
        self._script = script

    def _argv(self) -> list[str]:
        return ["/bin/sh", "-c", self._script]

    async def start(self) -> Any:
        return await self._start(stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ("echo no JSON", PartyLostError, "said b'no JSON', which is not JSON"),
        ("echo why >&2; exit 1", PartyLostError, r"The speaker ended \(1\) while it was needed. It said: why"),
        ("kill -9 $$", PartyLostError, "The speaker was ended by SIGKILL while it was needed. It said nothing"),
        ("echo no seccomp here >&2; exit 3", CannotError, "The speaker cannot run here: no seccomp here"),
    ],
)
def test_a_party_that_does_not_start(script: str, kind: type[Exception], text: str, tmp_path: Path) -> None:
    async def main() -> None:
        party = Says(script, tmp_path / "log")
        try:
            with pytest.raises(kind, match=text):
                await party.start()
        finally:
            await party.stop()

    trio.run(main)


def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    async def main() -> None:
        party = Says("sleep 1000 & echo $!; wait", tmp_path / "log")
        child = await party.start()
        end = os.pidfd_open(child)
        await party.stop()
        with trio.fail_after(PATIENCE_S):
            await trio.lowlevel.wait_readable(end)
        os.close(end)

    trio.run(main)
