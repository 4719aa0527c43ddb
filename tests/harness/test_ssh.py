"""``--ssh``: an sshd of our own in a network namespace of its own is the remote host, with everything real."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.campaign import read_records
from harness.records import Outcome, Trial
from tests.harness.program import Program
from tests.system.waiting import eventually

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
CLOCK = Path(__file__).with_name("other_clock.c")
NEEDED = {
    "sshd": SSHD,
    "ssh": shutil.which("ssh"),
    "ip": shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin"),
    "cc": shutil.which("cc"),
}
MISSING = [name for name, path in NEEDED.items() if path is None]
WORKER = int("0" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"))  # each has a network of its own
OURS, FAR, BITS = f"10.213.{WORKER}.1", f"10.213.{WORKER}.2", 30
SIZE_BYTES = 20_000
SMALL = ("--link", "remote", "--ssh", "far", "--set", f"size_bytes={SIZE_BYTES}", "--set", "trial_timeout_s=20.0")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who may make a network namespace"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"needs Debian's openssh-server, openssh-client, iproute2, gcc: no {MISSING}"
    ),
]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@dataclass
class Host:
    """The remote host: its namespace, where its temporary files are, and a user's way of saying how to get there."""

    namespace: str
    temporary: Path
    config: Path
    key: Path

    def processes(self) -> dict[int, str]:
        """Everything that runs there but sshd itself."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], check=True, capture_output=True, text=True)
        found = {}
        for pid in map(int, listed.stdout.split()):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if line and "[listener]" not in line:
                found[pid] = line
        return found

    def left(self) -> list[str]:
        return [*self.processes().values(), *map(str, self.temporary.iterdir())]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    place = tmp_path_factory.mktemp("far")
    mark = uuid.uuid4().hex[:8]
    namespace, near_end, far_end = f"ssa-{mark}", f"sa{mark}", f"sb{mark}"
    for name in ("host", "user"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name))
    temporary = Path(tempfile.mkdtemp(prefix="ssa-far-"))
    (place / "sshd").write_text(
        f"ListenAddress {FAR}:22\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nStrictModes no\n"
        f"PidFile none\nPermitRootLogin prohibit-password\nUsePAM no\nSetEnv TMPDIR={temporary}\n"
        "AcceptEnv LD_PRELOAD SSA_CLOCK_OFFSET_S\n"
    )
    (place / "known").write_text(f"{FAR} {(place / 'host.pub').read_text()}")
    (place / "config").write_text(
        f"Host far\n  HostName {FAR}\n  User root\n  IdentityFile {place}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {place}/known\n  StrictHostKeyChecking yes\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, when no service has made it
    _run("ip", "netns", "add", namespace)
    try:
        _run("ip", "link", "add", near_end, "type", "veth", "peer", "name", far_end, "netns", namespace)
        _run("ip", "address", "add", f"{OURS}/{BITS}", "dev", near_end)
        _run("ip", "link", "set", near_end, "up")
        for words in (f"address add {FAR}/{BITS} dev {far_end}", f"link set {far_end} up", "link set lo up"):
            _run("ip", "-n", namespace, *words.split())
        assert SSHD is not None
        command = ["ip", "netns", "exec", namespace, SSHD, "-D", "-e", "-f", str(place / "sshd")]
        with (
            (place / "log").open("wb") as log,
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as daemon,
        ):
            try:
                eventually(lambda: "Server listening" in (place / "log").read_text() or daemon.poll() is not None)
                assert daemon.poll() is None, (place / "log").read_text()
                yield Host(namespace, temporary, place / "config", place / "user")
            finally:
                daemon.terminate()
    finally:
        _run("ip", "netns", "delete", namespace)
        shutil.rmtree(temporary)


@pytest.fixture
def harness(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Program]:
    """Its ssh is the system's with the host's configuration, which stands for the user's own."""
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {NEEDED["ssh"]} -F {host.config} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()
    eventually(lambda: not host.left())


def trials_of(harness: Program) -> list[Trial]:
    return read_records(harness.campaign / "trials.jsonl", Trial)


def test_a_campaign_on_a_host(host: Host, harness: Program) -> None:
    ended = harness.run(*SMALL)
    assert ended.code == 0, ended.said
    assert {(trial.outcome, trial.link) for trial in trials_of(harness)} == {(Outcome.OK, "remote")}
    link = json.loads((harness.campaign / "environment.json").read_text())["link"]
    assert (link["ssh"], link["emulated"], link["server_address"]) == ("far", False, FAR)
    assert abs(link["clock_offset_ns"]) <= link["clock_uncertainty_ns"] + 1_000_000  # it is this machine's clock
    assert harness("check", str(harness.campaign)).code == 0


def test_a_host_that_vanishes_is_reached_again(host: Host, harness: Program) -> None:
    with harness.started(*harness.run_arguments(*SMALL, levels="[1, 2, 3]")) as running:
        running.until("2/12 trials")
        for pid, line in host.processes().items():
            if re.search(r"sshd: root", line):
                os.kill(pid, signal.SIGKILL)
        ended = running.end()
    assert ended.code == 0, ended.said
    assert harness("check", str(harness.campaign)).code == 0
    assert {trial.outcome for trial in trials_of(harness)} <= {Outcome.OK, Outcome.ABORTED, Outcome.FAILED}


def test_a_key_that_the_host_does_not_know(host: Host, harness: Program) -> None:
    known = host.key.with_name("user.pub")
    before = known.read_bytes()
    known.write_text("")
    try:
        ended = harness.run(*SMALL)
    finally:
        known.write_bytes(before)
    assert ended.code == 1
    assert f"The connection to far over ssh cannot be made or was lost. It said: root@{FAR}: Permission denied" in (
        ended.sentence
    )
    assert not harness.out.exists()


def test_a_host_whose_key_is_another(host: Host, harness: Program) -> None:
    known = host.config.with_name("known")
    before = known.read_bytes()
    known.write_bytes(f"{FAR} ".encode() + host.key.with_name("user.pub").read_bytes())
    try:
        ended = harness.run(*SMALL)
    finally:
        known.write_bytes(before)
    assert ended.code == 1
    assert "Host key verification failed" in ended.sentence


def test_it_is_ended_in_the_middle_and_nothing_stays_there(host: Host, harness: Program) -> None:
    with harness.started(*harness.run_arguments(*SMALL, levels="[1, 2, 3]")) as running:
        running.until("2/12 trials")
        assert host.left()
        running.signal(signal.SIGTERM)
        ended = running.end()
    assert ended.code == 128 + signal.SIGTERM
    eventually(lambda: not host.left())


def served_file(host: Host) -> Path:
    """The file that the server there gives to clients."""
    (path,) = (path for path in host.temporary.glob("*/www/*") if path.stat().st_size == SIZE_BYTES)
    return path


@pytest.mark.parametrize(
    ("bytes_there", "reason"),
    [
        (b"\xff" * SIZE_BYTES, "The body is not the file: its SHA-256 is"),
        (b"\xff" * (SIZE_BYTES - 1), f"The body has {SIZE_BYTES - 1} bytes instead of {SIZE_BYTES}."),
    ],
    ids=["other", "fewer"],
)
def test_a_host_that_serves_other_bytes_is_stopped_and_resumed_with_ours(
    host: Host, harness: Program, bytes_there: bytes, reason: str
) -> None:
    patient = ("--set", "max_attempts=5")  # more than fail before it is stopped, though only one pair be left
    with harness.started(*harness.run_arguments(*SMALL, *patient, levels="[1, 2, 3]")) as running:
        running.until("2/12 trials")
        path = served_file(host)
        other = path.with_name("other")
        other.write_bytes(bytes_there)
        other.replace(path)
        ended = running.end()
    assert ended.code == 1
    assert "trials failed one after the other, so the campaign was stopped; the last reason:" in ended.sentence
    assert reason in ended.sentence
    assert {trial.outcome for trial in trials_of(harness)} == {Outcome.OK, Outcome.FAILED}
    ended = harness("resume", str(harness.campaign), "--no-analysis")
    assert ended.code == 0, ended.said
    assert harness("check", str(harness.campaign)).code == 0


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    _run("cc", "-shared", "-fPIC", "-o", str(library), str(CLOCK))
    return library


@pytest.mark.parametrize("years", [-30, 30])
def test_a_host_whose_clock_is_years_off_changes_nothing(host: Host, harness: Program, clock: Path, years: int) -> None:
    """By that clock the certificate made here is not valid yet, or no longer."""
    offset_s = years * 365 * 86_400
    before = host.config.read_text()
    host.config.write_text(f"{before}  SetEnv LD_PRELOAD={clock} SSA_CLOCK_OFFSET_S={offset_s}\n")
    begun = datetime.now(UTC)
    try:
        ended = harness.run(*SMALL, levels="[1]", blocks=1)
    finally:
        host.config.write_text(before)
    assert ended.code == 0, ended.said
    link = json.loads((harness.campaign / "environment.json").read_text())["link"]
    assert abs(link["clock_offset_ns"] - offset_s * 10**9) <= link["clock_uncertainty_ns"] + 1_000_000
    trials = trials_of(harness)
    assert {trial.outcome for trial in trials} == {Outcome.OK}
    assert all(begun <= datetime.fromisoformat(trial.started_at) <= datetime.now(UTC) for trial in trials)
    assert harness("check", str(harness.campaign)).code == 0
