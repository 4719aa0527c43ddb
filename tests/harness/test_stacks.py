"""Every stack and every web server in a tiny real campaign; and what happens where one of them is missing or fails."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from harness.campaign import read_records
from harness.clients import native
from harness.errors import EXIT_CANNOT, CannotError, PartyLostError, UsageError
from harness.parties import Proxy
from harness.plan import build
from harness.proxies import kinds, program
from harness.records import Outcome, Sample, Stack, Trial
from tests.harness.program import Program
from tests.harness.scripted import ScriptedServer
from webservers import Authority, Credentials, available

pytestmark = pytest.mark.system

BODY = bytes(range(256)) * 40
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY)
PROXIES = [Stack.STUNNEL, Stack.HAPROXY]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:  # short: there are sockets in it
        whole = Program(tmp_path, Path(temporary))
        yield whole
        whole.wait_until_all_ended()


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Authority.create().issue(tmp_path / "certificates", server_name="localhost")


def require(stack: Stack) -> None:
    """Skip where the machine does not have it."""
    try:
        if stack.is_proxy:
            kinds.KINDS[stack.value]().executable()
        elif stack.is_c:
            native.built(stack)
    except CannotError as error:
        pytest.skip(str(error))


def trials_of(harness: Program) -> list[Trial]:
    return list(read_records(harness.campaign / "trials.jsonl", Trial))


def held(harness: Program, ended: Any) -> tuple[list[Trial], list[Sample]]:
    """All went well, the directory holds, nothing is left."""
    assert ended.code == 0, ended.said
    assert harness.nothing_is_left()
    assert harness("check", str(harness.campaign)).code == 0
    trials = trials_of(harness)
    assert [(trial.outcome, trial.reason) for trial in trials] == [(Outcome.OK, "")] * len(trials)
    return trials, list(read_records(harness.campaign / "samples.jsonl", Sample))


@pytest.mark.parametrize("stack", [Stack.OPENSSL_C, Stack.SSA_C, *PROXIES])
def test_a_stack_negotiates_what_openssl_does(stack: Stack, harness: Program) -> None:
    require(stack)
    trials, samples = held(harness, harness.run("--set", f'stacks=["openssl", "{stack}"]', blocks=1))
    assert {trial.stack for trial in trials} == {Stack.OPENSSL, stack}
    for trial in trials:
        assert (trial.cpu_daemon is not None) == (trial.stack.is_ssa or trial.stack.is_proxy)
        assert (trial.boundary is not None) == trial.stack.is_ssa
    for name in ("tls_version", "tls_cipher", "tls_group", "tls_alpn", "tls_resumed"):
        assert len({getattr(sample, name) for sample in samples}) == 1
        assert getattr(samples[0], name) is not None
    known = 1 if stack is Stack.STUNNEL else 0
    assert len({sample.peer_certificate_sha256 for sample in samples}) == 1 + known
    environment = json.loads((harness.campaign / "environment.json").read_text())
    builds = {str(sample.openssl) for sample in samples}
    if stack.is_proxy:
        assert environment["proxies"][stack.value]["openssl"] in builds
    elif stack is Stack.OPENSSL_C:
        assert environment["clients"]["openssl-c"]["openssl"] in builds
        assert environment["clients"]["openssl-c"]["compiler"]
    else:
        assert len(builds) == 1


@pytest.mark.parametrize("server", ["granian", "nginx", "lighttpd", "apache", "caddy"])
def test_a_server_and_its_plain_twin(server: str, harness: Program) -> None:
    found = next(one for one in available() if one.kind == server)
    if not found.usable:
        pytest.skip(found.reason)
    stacks = ("--set", 'stacks=["openssl", "plain"]')
    trials, samples = held(harness, harness.run("--server", server, *stacks, blocks=1))
    assert {trial.server for trial in trials} == {server}
    for trial in trials:
        assert trial.cpu_server is not None
        assert trial.cpu_server.total_ns > 0
    plain = {trial.trial_id for trial in trials if trial.stack is Stack.PLAIN}
    for sample in samples:
        assert (sample.tls_version is None) == (sample.trial_id in plain)
        assert (sample.tls_offset_ns is None) == (sample.trial_id in plain)
        assert sample.tcp_offset_ns is not None
    assert len({sample.body_sha256 for sample in samples}) == 1


def test_a_proxy_that_is_lost_is_replaced(harness: Program) -> None:
    require(Stack.HAPROXY)
    arguments = harness.run_arguments("--set", 'stacks=["haproxy", "haproxy"]', levels="[1, 2, 3]")
    with harness.started(*arguments) as running:
        running.until("2/12 trials")
        harness.kill(r"haproxy -db")
        ended = running.end()
    assert ended.code == 0, ended.said
    assert harness("check", str(harness.campaign)).code == 0
    assert len({trial.trial_id for trial in trials_of(harness) if trial.outcome is Outcome.OK}) == 12
    assert harness.nothing_is_left()


@pytest.mark.parametrize("stack", PROXIES)
def test_a_proxy_refuses_a_wrong_certificate_and_says_why(stack: Stack, tmp_path: Path, harness: Program) -> None:
    require(stack)
    wrong = Authority.create().issue(tmp_path / "wrong", server_name="localhost", fault="wrong-name")
    with ScriptedServer(wrong, lambda peer: peer.answer(HEAD + BODY)) as server:
        url = ("--url", f"https://localhost:{server.port}/f", "--ca", str(wrong.ca))
        stacks = ("--set", f'stacks=["{stack}", "{stack}"]')
        ended = harness.run(*url, *stacks, "--set", f"size_bytes={len(BODY)}")
    assert ended.code == 1
    assert f"The {stack} client cannot download https://localhost:" in ended.sentence
    assert f"The {stack} proxy says: " in ended.sentence
    assert "certificate" in ended.sentence
    assert not harness.out.exists()
    assert harness.nothing_is_left()


def settings(tmp_path: Path, **changes: Any) -> kinds.Settings:
    told = {"address": "127.0.0.1", "port": 1, "server_name": "localhost", "ca_file": str(tmp_path / "none.pem")}
    return kinds.Settings(**{**told, "threads": 1, "directory": str(tmp_path / "proxy"), **changes})


@pytest.mark.parametrize("stack", PROXIES)
def test_a_proxy_that_does_not_start_says_its_last_words(stack: Stack, tmp_path: Path) -> None:
    require(stack)

    async def main() -> None:
        proxy = Proxy(stack, settings(tmp_path), ())
        try:
            why = r"(none\.pem|No trusted certificates)"
            with pytest.raises(PartyLostError, match=rf"The {stack} proxy ended \(1\).*{why}"):
                await proxy.start()
        finally:
            await proxy.stop()

    trio.run(main)


@pytest.mark.parametrize("stack", PROXIES)
def test_a_proxy_that_is_missing_is_said_with_its_package(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda *_arguments, **_options: None)
    told = {name: getattr(settings(tmp_path), name) for name in kinds.Settings.__dataclass_fields__}
    assert program.main([stack.value, json.dumps(told)]) == EXIT_CANNOT
    assert f"apt install {kinds.KINDS[stack.value].package}" in capsys.readouterr().err


def test_haproxy_cannot_verify_an_address(tmp_path: Path) -> None:
    with pytest.raises(CannotError, match="say the server's name"):
        kinds.Haproxy().configuration(settings(tmp_path, server_name="192.0.2.1"), 1)
    assert "checkIP = 192.0.2.1" in kinds.Stunnel().configuration(settings(tmp_path, server_name="192.0.2.1"), 1)


@pytest.mark.parametrize(
    ("compiler", "complaint"),
    [
        ("/nowhere/cc", r"there is no /nowhere/cc, which CC names; .*apt install gcc libc6-dev libssl-dev"),
        ("false", r"cannot be built: it did not say why; .*apt install gcc"),
    ],
)
def test_a_client_of_c_needs_a_compiler(
    compiler: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CannotError, match=complaint):
        native.built(Stack.OPENSSL_C)
    assert not list(tmp_path.glob("*/*"))


def test_missing_headers_and_a_cache_that_cannot_be_written_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(Stack.SSA_C)
    monkeypatch.setattr(native, "FLAGS", ("-nostdinc",))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(CannotError, match=r"cannot be built: .*error: .*; the system's packages `gcc libc6-dev"):
        native.built(Stack.SSA_C)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotError, match="name another place with XDG_CACHE_HOME"):
        native.built(Stack.SSA_C)


def test_a_program_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require(Stack.SSA_C)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = native.built(Stack.SSA_C)
    made = first.stat().st_ino
    assert native.built(Stack.SSA_C) == first
    assert first.stat().st_ino == made
    assert [path.name for path in first.parent.iterdir()] == [first.name]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"stacks": ["openssl", "plain"], "link": "remote", "url": "https://localhost:1/f"},
            "plain HTTP needs a",
        ),
        ({"stacks": ["openssl", "ssa-c"], "profile": "transfer"}, 'ssa-c is measured with profile "sound" only'),
        ({"stacks": ["ssa", "stunnel"], "profiles": ["sound", "cold-start"]}, 'and the plan has "cold-start"'),
        ({"stacks": ["openssl", "haproxy"], "boundary": "both"}, "no stack is ssa"),
    ],
)
def test_what_a_stack_cannot_be_asked_for(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        build({"levels": [1], "blocks": 1, **fields}, {}, "test")
