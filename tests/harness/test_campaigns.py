"""Whole campaigns, small ones, with real fleets, daemons and servers.

And everything that may happen to them.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.campaign import read_records
from harness.links import LinkUnavailableError, choose
from harness.records import Boundary, Outcome, Sample, Stack, Trial
from tests.harness.program import Program
from tests.harness.scripted import Handler, Peer, ScriptedServer
from webservers import Authority, Credentials

pytestmark = pytest.mark.system

BODY = bytes(range(256)) * 40
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
OPENSSL_ONLY = ("--set", 'stacks=["openssl", "openssl"]')


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:  # short: there are sockets in it
        program = Program(tmp_path, Path(temporary))
        yield program
        program.wait_until_all_ended()


def trials_of(harness: Program) -> list[Trial]:
    return list(read_records(harness.campaign / "trials.jsonl", Trial))


def planned_ids(harness: Program) -> list[str]:
    plan = json.loads((harness.campaign / "plan.json").read_text())["plan"]
    text = "\n".join(
        f"{key} = {json.dumps(value)}" for key, value in plan.items() if value is not None and key != "judgement"
    )
    (harness.temporary / "plan.toml").write_text(text)
    ended = harness("plan", "--plan", str(harness.temporary / "plan.toml"), "--json")
    (harness.temporary / "plan.toml").unlink()
    return [trial["trial_id"] for trial in json.loads(ended.said)["trials"]]


@pytest.mark.parametrize("stacks", ['["openssl", "ssa"]', '["openssl", "openssl"]', '["ssa", "ssa"]'])
def test_a_campaign(stacks: str, harness: Program) -> None:
    ended = harness.run("--set", f"stacks={stacks}", "--seed", "3")
    assert ended.code == 0, ended.said
    assert "Recorded 8 trials" in ended.sentence
    assert harness.nothing_is_left()
    held = harness("check", str(harness.campaign))
    assert (held.code, held.sentence.startswith(f"{harness.campaign} holds.")) == (0, True)
    trials = trials_of(harness)
    assert [trial.trial_id for trial in trials] == planned_ids(harness)
    assert {trial.arm for trial in trials} == {0, 1}
    for trial in trials:
        assert trial.outcome is Outcome.OK, trial.reason
        for cpu in (trial.cpu_clients, trial.cpu_server):
            assert cpu is not None
            assert cpu.total_ns > 0
        assert (trial.cpu_daemon is not None) == (trial.stack is Stack.SSA)
        assert (trial.boundary == "seccomp") == (trial.stack is Stack.SSA)
    samples = list(read_records(harness.campaign / "samples.jsonl", Sample))
    assert len(samples) == sum(trial.n for trial in trials)
    assert len({sample.openssl for sample in samples}) == 1


def test_both_boundaries_are_a_factor(harness: Program) -> None:
    ended = harness.run("--boundary", "both", blocks=1)
    assert ended.code == 0, ended.said
    assert harness.nothing_is_left()
    held = harness("check", str(harness.campaign))
    assert (held.code, held.sentence.startswith(f"{harness.campaign} holds.")) == (0, True)
    trials = trials_of(harness)
    cells = Counter((trial.n, trial.stack, trial.boundary) for trial in trials)
    ssa = {(n, Stack.SSA, boundary): 1 for n in (1, 2) for boundary in Boundary}
    assert cells == Counter({**ssa, **{(n, Stack.OPENSSL, None): 2 for n in (1, 2)}})
    for trial in trials:
        assert trial.outcome is Outcome.OK, trial.reason
        assert (trial.cpu_boundary is not None) == (trial.boundary is Boundary.SECCOMP)
    manifest = json.loads((harness.campaign / "plan.json").read_text())["manifest"]
    assert manifest["boundaries"] == ["seccomp", "preload"]


def test_a_lan(harness: Program) -> None:
    try:
        choose("lan")
    except LinkUnavailableError as error:
        pytest.skip(str(error))
    ended = harness.run("--link", "lan", blocks=1)
    assert ended.code == 0, ended.said
    assert harness.nothing_is_left()
    for trial in trials_of(harness):
        assert trial.link_tx_bytes is not None
        assert trial.link_tx_bytes > trial.n * 1_000_000


def test_warm_up_is_not_recorded(harness: Program) -> None:
    ended = harness.run(*OPENSSL_ONLY, "--set", "warm_up=1", levels="[1]", blocks=1)
    assert "Warmed up: 1 of each stack with n = 1, not recorded." in ended.sentence
    assert len(trials_of(harness)) == 2


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Plan:", signal.SIGTERM),
        ("Link:", signal.SIGINT),
        ("Warmed up", signal.SIGINT),
        ("0/8 trials", signal.SIGTERM),
        ("3/8 trials", signal.SIGINT),
        ("6/8 trials", signal.SIGTERM),
        ("7/8 trials", signal.SIGINT),
    ],
)
def test_an_interrupt_loses_at_most_the_trial_in_flight(moment: str, number: signal.Signals, harness: Program) -> None:
    with harness.started(*harness.run_arguments("--set", "warm_up=1")) as running:
        running.until(moment)
        running.signal(number)
        ended = running.end()
    assert ended.code == 128 + number
    assert f"Interrupted by {number.name}." in ended.sentence
    assert harness.nothing_is_left()
    if not harness.out.exists():
        assert moment in {"Plan:", "Link:"}
        return
    before = (harness.campaign / "trials.jsonl").read_bytes()
    assert f"python -m harness resume {harness.campaign}" in ended.sentence
    resumed = harness("resume", str(harness.campaign), "--no-analysis")
    assert resumed.code == 0, resumed.said
    assert (harness.campaign / "trials.jsonl").read_bytes().startswith(before)
    trials = trials_of(harness)
    assert [trial.trial_id for trial in trials] == planned_ids(harness)
    assert {trial.attempt for trial in trials} == {1}
    assert harness("check", str(harness.campaign)).code == 0
    assert harness.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_during_the_report_loses_nothing(number: signal.Signals, harness: Program) -> None:
    with harness.started(*harness.run_arguments(*OPENSSL_ONLY, "--analysis", levels="[1]")) as running:
        running.until("Recorded 4 trials")
        running.signal(number)
        ended = running.end()
    assert ended.code == 128 + number
    assert f"Interrupted by {number.name}. What was recorded is kept. Go on with: python -m harness resume" in (
        ended.sentence
    )
    assert not [path for path in harness.campaign.iterdir() if path.name.startswith(".")]
    assert harness.nothing_is_left()
    assert harness("check", str(harness.campaign)).code == 0


def test_a_killed_harness_leaves_no_process_and_can_be_resumed(harness: Program) -> None:
    with harness.started(*harness.run_arguments()) as running:
        running.until("3/8 trials")
        running.signal(signal.SIGKILL)
        running.end()
    harness.wait_until_all_ended()
    with (harness.campaign / "trials.jsonl").open("ab") as file:
        file.write(b'{"schema_version": 1, "campa')
    torn = harness("check", str(harness.campaign))
    assert torn.code == 2
    assert "trials.jsonl: the last line is torn" in torn.sentence
    assert harness("resume", str(harness.campaign), "--no-analysis").code == 0
    assert harness.nothing_is_left()
    assert [trial.trial_id for trial in trials_of(harness)] == planned_ids(harness)


@pytest.mark.parametrize("victim", ["granian", "ssad", "clients.fleet --stack openssl", "clients.fleet --stack ssa"])
def test_a_lost_party_is_replaced(victim: str, harness: Program) -> None:
    with harness.started(*harness.run_arguments(levels="[1, 2, 3]")) as running:
        running.until("2/12 trials")
        harness.kill(victim)
        ended = running.end()
    assert ended.code == 0, ended.said
    assert harness("check", str(harness.campaign)).code == 0
    good = Counter(trial.trial_id for trial in trials_of(harness) if trial.outcome is Outcome.OK)
    assert set(good) == set(planned_ids(harness))
    for trial in trials_of(harness):
        assert trial.outcome in {Outcome.OK, Outcome.ABORTED, Outcome.FAILED}, trial.reason
    assert harness.nothing_is_left()


@pytest.mark.parametrize("victim", ["granian", "ssa_impl.daemon.worker"])
def test_whoever_was_replaced_is_warmed_up_before_anything_is_measured(victim: str, harness: Program) -> None:
    """Where a worker has ended, the daemon puts another in its place and lives on: it is started anew."""
    with harness.started(*harness.run_arguments("--set", "warm_up=1", levels="[1, 2, 3]")) as running:
        running.until("2/12 trials")
        harness.kill(victim)
        ended = running.end()
    assert ended.code == 0, ended.said
    assert "Somebody was replaced, so all were warmed up again." in ended.said
    assert harness("check", str(harness.campaign)).code == 0


Serve = Callable[..., ScriptedServer]


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Authority.create().issue(tmp_path / "certificates", server_name="localhost")


def remote(server: ScriptedServer, credentials: Credentials, *more: str) -> list[str]:
    url = f"https://localhost:{server.port}/f"
    return ["--url", url, "--ca", str(credentials.ca), "--set", f"size_bytes={len(BODY)}", *more]


def well(peer: Peer) -> None:
    peer.answer(HEAD + BODY)


class Sometimes:
    """Serves well except for some downloads, counted from 0, which is the preflight's."""

    def __init__(self, bad: Handler, numbers: range | set[int]) -> None:
        self._bad = bad
        self._numbers = numbers
        self._count = iter(range(10**6))

    def __call__(self, peer: Peer) -> None:
        if not peer.speaks():
            return
        if next(self._count) in self._numbers:
            self._bad(peer)
        else:
            well(peer)


def test_a_remote_server(credentials: Credentials, harness: Program) -> None:
    with ScriptedServer(credentials, well) as server:
        ended = harness.run(*remote(server, credentials))
    assert ended.code == 0, ended.said
    for trial in trials_of(harness):
        assert (trial.outcome, trial.link, trial.server) == (Outcome.OK, "remote", "external")
        assert trial.cpu_server is None
        assert trial.link_tx_bytes is None


def test_a_wrong_body_fails_the_trial_and_its_pair_is_repeated(credentials: Credentials, harness: Program) -> None:
    def lie(peer: Peer) -> None:
        peer.answer(HEAD + BODY[::-1])

    with ScriptedServer(credentials, Sometimes(lie, {2})) as server:
        ended = harness.run(*remote(server, credentials, *OPENSSL_ONLY), levels="[1]")
    assert ended.code == 0, ended.said
    trials = trials_of(harness)
    bad = [trial for trial in trials if trial.outcome is not Outcome.OK]
    assert [trial.reason[:49] for trial in bad] == ["1 of 1 processes: The body is not the file: its S"]
    assert Counter(trial.attempt for trial in trials if trial.pair == bad[0].pair)[2] == 2
    assert harness("check", str(harness.campaign)).code == 0


def test_when_everything_fails_the_campaign_stops_and_can_be_resumed(
    credentials: Credentials, harness: Program
) -> None:
    broken = Sometimes(lambda peer: peer.stall(), range(3, 10**6))
    with ScriptedServer(credentials, broken) as server:
        ended = harness.run(*remote(server, credentials, *OPENSSL_ONLY, "--set", "trial_timeout_s=1.0"), blocks=5)
    assert ended.code == 1
    assert "5 trials failed one after the other" in ended.sentence
    assert "it was still in the TLS handshake" in ended.sentence
    assert f"Go on with: python -m harness resume {harness.campaign}" in ended.sentence


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("expired", "certificate has expired"),
        ("wrong-name", "The certificate is not for localhost."),
        ("untrusted", "certificate verify failed"),
    ],
)
def test_a_wrong_certificate_is_said_before_anything_is_measured(
    fault: Any, error: str, tmp_path: Path, harness: Program
) -> None:
    authority = Authority.create()
    if fault == "untrusted":
        credentials = authority.issue(tmp_path / "bad", server_name="localhost")
        credentials.ca.write_bytes(Authority.create().pem)
    else:
        credentials = authority.issue(tmp_path / "bad", server_name="localhost", fault=fault)
    with ScriptedServer(credentials, well) as server:
        ended = harness.run(*remote(server, credentials))
    assert ended.code == 1
    assert "The openssl client cannot download https://localhost:" in ended.sentence
    assert error in ended.sentence
    assert not harness.out.exists()
    assert harness.nothing_is_left()


def test_a_server_that_refuses_stalls_or_sends_another_file(credentials: Credentials, harness: Program) -> None:
    with ScriptedServer(credentials, well) as server:
        arguments = remote(server, credentials)
        other = harness.run(*arguments, "--set", "size_bytes=10239")
    assert (other.code, "has 10240 bytes, the plan says 10239" in other.sentence) == (1, True)
    refused = harness.run(*arguments)
    assert (refused.code, "refused" in refused.sentence) == (1, True)
    with ScriptedServer(credentials, lambda peer: peer.stall()) as server:
        stalled = harness.run(*remote(server, credentials, "--set", "trial_timeout_s=0.5"))
    assert stalled.code == 1
    assert "Not finished in time: it was still in the TLS handshake." in stalled.sentence
    assert not harness.out.exists()


def test_wrong_usage_is_one_sentence(tmp_path: Path, harness: Program) -> None:
    url = ("--url", "https://localhost:1/f")
    (tmp_path / "no.pem").write_text("no certificate")
    for arguments, text in (
        (("--link", "remote"), "url: a remote link needs the file's address"),
        (("--url", "http://localhost/f"), "is not a URL of the form https://"),
        ((*url, "--ca", str(tmp_path / "none.pem")), "Cannot read the authorities' file"),
        ((*url, "--ca", str(tmp_path / "no.pem")), "holds no certificate in PEM"),
        (("--set", "bloks=3"), "bloks: there is no such field; did you mean blocks?"),
        (("--preset", "papper"), "There is no preset 'papper'"),
    ):
        ended = harness.run(*arguments)
        assert (ended.code, text in ended.sentence) == (2, True), ended.said
    assert not harness.out.exists()


def test_too_much_for_this_machine_is_said(harness: Program) -> None:
    ended = harness.run("--set", "size_bytes=1000000000", levels="[1000]")
    assert ended.code == 3
    assert "1000 processes with 1000000000 bytes each, their server and daemon need about 1032.2 GB" in ended.sentence
    assert " fit" in ended.sentence


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small campaign for all tests that look at a finished one."""
    maker = Program(tmp_path_factory.mktemp("recorded"), tmp_path_factory.mktemp("temporary"))
    assert maker.run(*OPENSSL_ONLY, levels="[1]", blocks=2).code == 0
    return maker.campaign


@pytest.fixture
def finished(recorded: Path, harness: Program) -> Path:
    shutil.copytree(recorded, harness.out / recorded.name)
    return harness.campaign


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def drop_last_trial(campaign: Path) -> None:
    lines = (campaign / "trials.jsonl").read_text().splitlines(keepends=True)
    (campaign / "trials.jsonl").write_text("".join(lines[:-1]))


def test_resume_refuses_what_has_changed(finished: Path, harness: Program) -> None:
    assert harness("resume", str(finished), "--no-analysis").code == 0
    drop_last_trial(finished)
    change_json(finished / "environment.json", lambda found: found["fingerprint"].update({"machine.cpu.model": "Z80"}))
    ended = harness("resume", str(finished), "--no-analysis")
    assert ended.code == 2
    assert 'cannot go on here: machine.cpu.model was "Z80" and is' in ended.sentence
    change_json(finished / "plan.json", lambda found: found["plan"].update(blocks=3))
    ended = harness("resume", str(finished), "--no-analysis")
    assert (ended.code, "plan.json was changed" in ended.sentence) == (2, True)
    change_json(finished / "plan.json", lambda found: found["manifest"].update(schema_version=0))
    ended = harness("resume", str(finished), "--no-analysis")
    assert (ended.code, "made by another version of the harness" in ended.sentence) == (2, True)
    ended = harness("resume", str(finished.parent), "--no-analysis")
    assert (ended.code, "is not a campaign's directory" in ended.sentence) == (2, True)


def test_only_one_harness_writes(finished: Path, harness: Program) -> None:
    drop_last_trial(finished)
    with harness.started("resume", str(finished), "--no-analysis") as running:
        running.until("3/4 trials")
        running.signal(signal.SIGSTOP)
        second = harness("resume", str(finished), "--no-analysis")
        running.signal(signal.SIGCONT)
        assert running.end().code == 0
    assert (second.code, "Another process is running the campaign" in second.sentence) == (1, True)


def edit_lines(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))


@pytest.mark.parametrize(
    ("name", "change", "finding"),
    [
        ("trials", lambda records: records.pop(), "The campaign is not complete: 3 of 4 trials"),
        ("trials", lambda records: records.append(records[0]), "attempt 1, was not due"),
        ("trials", lambda records: records.reverse(), "was not due"),
        ("trials", lambda records: records[1].update(n=7), "is not as planned: n is 7"),
        ("trials", lambda records: records[1].update(sequence=9), "has sequence 9, but stands in place 1"),
        ("trials", lambda records: records[1].update(campaign="x"), "belongs to another campaign, x"),
        ("trials", lambda records: records[1].update(elapsed_ns=5), "does not end with its slowest sample"),
        ("trials", lambda records: records[1].pop("n"), "line 2, is not a trial: n: Field required"),
        ("samples", lambda records: records.pop(), "has 0 samples that are not the processes 0 to 0"),
        ("samples", lambda records: records.append({**records[0], "attempt": 5}), "was never recorded"),
        ("samples", lambda records: records[0].update(outcome="failed"), "is ok, but has samples that are not"),
        ("samples", lambda records: records[0].update(body_sha256="ab"), "2 different SHA-256"),
        ("samples", lambda records: records[0].update(pid=1), "samples.parquet: does not hold the same rows"),
    ],
)
def test_check_finds(name: str, change: Callable[[Any], None], finding: str, finished: Path, harness: Program) -> None:
    edit_lines(finished / f"{name}.jsonl", change)
    ended = harness("check", str(finished))
    assert ended.code == 2
    assert finding in ended.sentence


def test_check_finds_what_nobody_says_of_the_link(finished: Path, harness: Program) -> None:
    trials = len((finished / "trials.jsonl").read_text().splitlines())
    (finished / "links.jsonl").write_text("")
    ended = harness("check", str(finished))
    assert (ended.code, f"links.jsonl: has 0 lines for {trials} trials." in ended.sentence) == (2, True)


def test_check_finds_missing_parquet(finished: Path, harness: Program) -> None:
    (finished / "trials.parquet").unlink()
    (finished / "samples.parquet").write_text("no")
    ended = harness("check", str(finished))
    assert ended.code == 2
    assert "trials.parquet: is missing" in ended.sentence
    assert "samples.parquet: cannot be read" in ended.sentence
    assert harness("resume", str(finished), "--no-analysis").code == 0
    assert harness("check", str(finished)).code == 0


def test_a_place_where_nothing_can_be_written(harness: Program) -> None:
    """Said at once: before a link is made, and anybody has waited for one."""
    for out, why in (("/proc/nothing", "No such file or directory"), ("/dev/null/in", "Not a directory")):
        ended = harness.run(*OPENSSL_ONLY, "--out", out)
        assert ended.code == 1
        assert f"Cannot make the campaign's directory in {out}: {why}." in ended.sentence
        assert "Link: " not in ended.said
        assert harness.nothing_is_left()


@pytest.mark.root
def test_a_full_disk(harness: Program) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    harness.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(harness.out)]
    subprocess.run(mount, check=True)
    try:
        ended = harness.run(*OPENSSL_ONLY, levels="[8]", blocks=9)
        assert ended.code == 1
        assert ".jsonl: No space left on device." in ended.sentence
        recorded = [trial.trial_id for trial in trials_of(harness)]
        assert 0 < len(recorded) < 18
        subprocess.run(["mount", "-o", "remount,size=10m", str(harness.out)], check=True)
        assert harness("resume", str(harness.campaign), "--no-analysis").code == 0
        assert [trial.trial_id for trial in trials_of(harness)] == planned_ids(harness)
    finally:
        subprocess.run(["umount", str(harness.out)], check=True)
