"""``ssactl`` against a real daemon: every command of the page, with the output that the page shows."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.certificates import authority
from tests.ssa_impl.credentials import issued
from tests.system.daemons import ROOT, Zygote, environment, open_log, ssad_command
from tests.system.servers import Server
from tests.system.waiting import eventually

PAGE = ROOT / "docs" / "administrators" / "operation.md"
POLICY = """\
[profile.strict]
extends = "modern"

[[application]]
profile = "strict"
executable = "/usr/bin/curl"
"""
VOTED = """
[defaults.validation]
necessary = ["allow-list"]
voting = ["trust-store-and-hostname", "pinning"]
threshold_percent = 60
[defaults.validation.allow-list]
names = ["server.ssa.test"]
[defaults.validation.pinning]
pins = { "elsewhere.test" = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="] }
"""
BAD = POLICY.replace("extends", "extend")
PATIENCE_S = 90


class Scene:
    """A daemon under a policy, and whoever administers it."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="ssactl-")
        self.place = Path(self._directory.name)
        self.path = self.place / "control.sock"
        self.policy = self.place / "ssa.toml"
        self.policy.write_text(POLICY)
        (self.place / "bad.toml").write_text(BAD)
        self._log = open_log()
        options = ["--policy", str(self.policy), "--log-format", "json", "--log-connections", "all"]
        self.process = subprocess.Popen(
            [*ssad_command(self.path), *options], stdout=subprocess.PIPE, stderr=self._log, env=environment(), text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), self.log()

    def ssactl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ssactl for this daemon."""
        words = [word.replace("/etc/ssa", str(self.place)) for word in arguments]
        command = [sys.executable, "-m", "ssa_impl.cli.ssactl", *words]
        variables = environment(SSAD_SOCKET=str(self.path))
        return subprocess.run(command, capture_output=True, text=True, env=variables, timeout=PATIENCE_S, check=False)

    def json(self, *arguments: str) -> dict[str, object]:
        ran = self.ssactl(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, object] = json.loads(ran.stdout)
        return answer

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log().splitlines()]

    def end(self) -> int:
        """End the daemon; nothing may be left of its sockets."""
        self.process.terminate()
        try:
            code = self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        return code

    def close(self) -> None:
        left = sorted(path.name for path in self.place.iterdir())
        self._log.close()
        self._directory.cleanup()
        assert left == ["bad.toml", "ssa.toml"]


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.end()
    made.close()


@pytest.fixture
def zygotes() -> Iterator[Callable[[Path], Zygote]]:
    """Programs for a daemon of one's own."""
    started: list[Zygote] = []

    def start(path: Path) -> Zygote:
        started.append(Zygote(path))
        return started[-1]

    yield start
    for zygote in started:
        zygote.stop()


def same(text: str, place: Path) -> str:
    """Return output without what differs each time: places, times, numbers, and how wide columns are."""
    text = text.replace(str(place), "/etc/ssa").replace("/run/ssad", "/etc/ssa")
    text = re.sub(r"(?m)^(TLS by|hardening) .*$", r"\1", text)
    text = re.sub(r"(?m)^(ssad .* of) \S+$", r"\1", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"\d+(\.\d+)?", "N", text)).strip()


def commands_of_the_page() -> list[tuple[str, str]]:
    """Return each command that the page shows, and the output beneath it."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [
        (command, output)
        for block in blocks
        for command, _, output in (part.partition("\n") for part in re.split(r"(?m)^\$ ", block)[1:])
    ]


def test_the_page_shows_what_happens(scene: Scene) -> None:
    shown = commands_of_the_page()
    assert {command.split()[1] for command, _ in shown} == {
        "status", "sessions", "profiles", "explain", "check", "reload", "drain", "metrics",
    }  # fmt: skip
    for command, output in shown:
        name, *arguments = shlex.split(command)
        assert name == "ssactl"
        ran = scene.ssactl(*arguments)
        expected = same(output, scene.place)
        said = same(ran.stdout + ran.stderr, scene.place)
        if expected.endswith("..."):
            assert said.startswith(expected.removesuffix("...").rstrip()), command
        else:
            assert said == expected, command
    assert scene.process.wait(PATIENCE_S) == 0  # the page's last command lets it end


def test_a_connection_is_seen_counted_and_logged(
    scene: Scene, echoing: Server, ca: str, zygotes: Callable[[Path], Zygote]
) -> None:
    zygote = zygotes(scene.path)
    program = zygote.start("held", port=echoing.port, ca=ca)
    number, _ = program.hear()
    (seen,) = scene.json("sessions")["sessions"]  # type: ignore[misc]
    assert (seen["id"], seen["state"], seen["role"]) == (number, "connected", "initiator")
    assert (seen["version"], seen["peer"], seen["profile"]) == ("TLSv1.3", f"127.0.0.1:{echoing.port}", "default")
    program.say()
    assert program.result() == "x"
    families = {family.name: family for family in text_string_to_metric_families(scraped(scene.path))}
    totals = {sample.name: sample.value for name in families for sample in families[name].samples}
    assert totals["ssa_connections_total"] == 1
    assert totals["ssa_handshakes_total"] == 1
    assert (totals["ssa_received_bytes_total"], totals["ssa_sent_bytes_total"]) == (1, 1)
    eventually(lambda: not scene.json("sessions")["sessions"])
    scene.end()
    assert [line["event"] for line in scene.lines() if line.get("id") == number] == ["connected", "ended"]
    key = authority().anchors_pem.decode().splitlines()[1]
    assert key not in scene.log()


def test_a_connection_that_the_daemon_s_end_breaks_is_logged(
    scene: Scene, echoing: Server, ca: str, zygotes: Callable[[Path], Zygote]
) -> None:
    program = zygotes(scene.path).start("held", port=echoing.port, ca=ca)
    number, _ = program.hear()
    assert scene.end() == 0
    connected, broken = [line for line in scene.lines() if line.get("id") == number]
    assert (connected["event"], broken["event"]) == ("connected", "broken")
    assert (broken["reason"], broken["msg"]) == ("daemon", "the daemon ended it")


def test_how_it_was_voted_on_a_peer_is_seen_and_logged(
    scene: Scene, echoing: Server, ca: str, zygotes: Callable[[Path], Zygote]
) -> None:
    scene.policy.write_text(POLICY + VOTED)
    assert scene.ssactl("reload").returncode == 0
    program = zygotes(scene.path).start("held", port=echoing.port, ca=ca)
    number, _ = program.hear()
    votes = [
        "allow-list (necessary): accept, server.ssa.test is on the list",
        "trust-store-and-hostname (voting): accept, the chain leads to a trust anchor and is for server.ssa.test",
        "pinning (voting): abstain, no key is pinned for server.ssa.test",
    ]
    (seen,) = scene.json("sessions")["sessions"]  # type: ignore[misc]
    assert seen["votes"] == votes
    shown = scene.ssactl("explain", str(seen["pid"])).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[-3:] == [f"{number} server.ssa.test 127.0.0.1:{echoing.port} {votes[0]}", *votes[1:]]
    counted = "abstain counts as abstain, error as reject, time-out after 5 s as reject"
    assert f"allow-list: necessary, allow-list; {counted}" in lines
    assert f"pinning: votes, pinning; {counted}" in lines
    assert "of the votes that count, 60 % must accept" in lines
    assert votes[0] not in scene.ssactl("explain", "/usr/bin/python3").stdout
    program.say()
    assert program.result() == "x"
    scene.end()
    (connected,) = [line for line in scene.lines() if line["event"] == "connected"]
    assert connected["votes"] == "; ".join(votes)


def test_no_secret_is_in_what_anybody_is_told(
    scene: Scene, echoing: Server, ca: str, zygotes: Callable[[Path], Zygote]
) -> None:
    """The secrets of a connection are known from its key log."""
    keys = scene.place / "keys"
    keys.mkdir()
    scene.policy.write_text(f'{POLICY}\n[defaults]\nkey_log = "{keys / "log"}"\n')
    assert scene.ssactl("reload").returncode == 0
    program = zygotes(scene.path).start("held", port=echoing.port, ca=ca)
    program.hear()
    told = [scene.ssactl(*words).stdout for words in (["status"], ["sessions"], ["sessions", "--json"], ["metrics"])]
    told.append(scraped(scene.path))
    program.say()
    assert program.result() == "x"
    scene.end()
    lines = [line.split() for line in (keys / "log").read_text().splitlines()]
    secrets = {words[2] for words in lines if len(words) == 3}
    shutil.rmtree(keys)
    assert len(secrets) >= 4  # two of the handshake, two of the traffic
    for text in [scene.log(), *told]:
        assert text
        assert [secret for secret in secrets if secret.lower() in text.lower()] == []


def scraped(control: Path) -> str:
    """Return what a scraper gets."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(f"{control}.metrics")
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: ssad\r\n\r\n")
        with connection.makefile("r", newline="") as answer:
            head, _, body = answer.read().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    return body


def test_a_bad_policy_changes_nothing_and_says_why(scene: Scene) -> None:
    scene.policy.write_text(BAD)
    ran = scene.ssactl("reload")
    assert ran.returncode == 1
    assert f"{scene.policy}:2: " in ran.stderr
    assert "ssactl: the policy was not changed" in ran.stderr
    assert scene.json("explain", "/usr/bin/curl")["profile"] == "strict"
    assert 'ssa_policy_reloads_total{result="refused"} 1' in scene.ssactl("metrics").stdout


def test_enforcing_says_whether_a_connection_had_to_end(
    scene: Scene, echoing: Server, ca: str, zygotes: Callable[[Path], Zygote]
) -> None:
    nothing = "no connection had to end\n"
    assert nothing not in scene.ssactl("reload").stdout
    assert scene.ssactl("reload", "--enforce").stdout.endswith(nothing)
    program = zygotes(scene.path).start("held", port=echoing.port, ca=ca)
    program.hear()
    scene.policy.write_text(f"{POLICY}[defaults]\napplication_anchors = false\n")
    ran = scene.ssactl("reload", "--enforce")
    assert (ran.returncode, nothing in ran.stdout) == (0, False)
    assert "1 connection ended" in ran.stdout
    program.close()


def test_check_says_before_what_a_reload_would_refuse(scene: Scene) -> None:
    """Nobody has to let a daemon find out about keys that do not belong together."""
    credential, other, keys = issued("web.test"), issued("other.test"), scene.place / "keys"
    keys.mkdir()
    named = f'[key.web]\nchain = "{keys}/chain"\nkey = "{keys}/key"\nprofiles = ["strict"]\n'
    scene.policy.write_text(POLICY + named)
    for key, code in ((other.key, 1), (credential.key, 0)):
        for name, content in (("chain", credential.chain), ("key", key)):
            (keys / name).write_bytes(content)
            (keys / name).chmod(0o600)
        checked, reloaded = scene.ssactl("check", str(scene.policy)), scene.ssactl("reload")
        assert (checked.returncode, reloaded.returncode) == (code, code)
        assert checked.stderr.splitlines()[:-1] == reloaded.stderr.splitlines()[:-1]
        assert ("does not match" in checked.stderr) is bool(code)
    shutil.rmtree(keys)


def test_exit_codes(tmp_path: Path, scene: Scene) -> None:
    assert scene.ssactl("status", "--socket", str(tmp_path / "none")).returncode == 3
    assert scene.ssactl("check", str(tmp_path / "none.toml")).returncode == 1
    assert scene.ssactl("explain", "curl").returncode == 2
    assert scene.ssactl("no-such-command").returncode == 2
    assert scene.ssactl("explain", "/usr/bin/curl", "--user", "no-such-user").returncode == 1


def test_explaining_offline_says_the_same(scene: Scene) -> None:
    online = scene.json("explain", "/usr/bin/curl", "--user", "root")
    assert online["profile"] == "strict"
    assert scene.json("explain", "/usr/bin/curl", "--user", "root", "--policy", str(scene.policy)) == online
