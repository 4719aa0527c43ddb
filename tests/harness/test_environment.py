"""environment.json: what is captured, what must not change, and what is warned of."""

import copy
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import checks, environment, machine, versions

untimed = settings(deadline=None)

LINK: dict[str, object] = {
    "kind": "lan",
    "why": "It was asked for.",
    "fell_back": False,
    "rate_mbit_s": 1000.0,
    "congestion_control": {"client": "cubic", "server": "cubic"},
    "congestion_control_pinned": True,
    "qdisc": [],
    "namespaces": ["ssa-1-1-0-client"],
    "emulator": {"name": "tun"},
}
SERVER: dict[str, object] = {"kind": "nginx", "version": "nginx 1.22.1", "workers": 2, "port": 4711}


class Described:
    def __init__(self, values: dict[str, object]) -> None:
        self.values = values

    def describe(self) -> dict[str, object]:
        return copy.deepcopy(self.values)


@pytest.fixture
def captured() -> environment.Environment:
    return environment.capture(Described(LINK), Described(SERVER))


@pytest.fixture
def perfect(captured: environment.Environment) -> environment.Environment:
    """Nothing to warn of, on any machine that the tests run on."""
    clean = copy.deepcopy(captured)
    clean["machine"] |= {
        "load_average": [0.0, 0.0, 0.0],
        "virtualisation": "none",
        "limits": {"nofile": {"soft": None, "hard": None}, "nproc": {"soft": None, "hard": None}},
        "environment": {},
    }
    clean["machine"]["cpu"] |= {"usable": 16, "governors": ["performance"], "boost": False, "hypervisor": False}
    clean["versions"]["git"] = {"revision": "ab" * 20, "dirty": False}
    assert checks.find_warnings(clean) == []
    return clean


def test_it_is_plain_json_with_the_parts_that_are_promised(captured: environment.Environment) -> None:
    assert json.loads(json.dumps(captured)) == captured
    assert set(captured) == {
        "schema_version", "fingerprint", "link", "server", "versions", "machine", "warnings",
    }  # fmt: skip
    assert captured["schema_version"] == 1
    assert captured["link"] == LINK
    assert captured["server"] == SERVER
    assert captured["versions"]["openssl"]["pyopenssl"].startswith("OpenSSL ")
    assert captured["machine"]["cpu"]["usable"] >= 1
    assert captured["machine"]["memory_bytes"] > 0


def test_nothing_has_changed_between_two_looks(captured: environment.Environment) -> None:
    again = environment.capture(Described(LINK | {"namespaces": ["ssa-2-2-0-client"]}), Described(SERVER | {"port": 1}))
    assert environment.compare(captured, again) == []


def test_a_server_that_is_not_ours() -> None:
    assert environment.capture(Described(LINK), None)["server"] == {"kind": "external"}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("machine", "kernel", "release"), "9.9", 'machine.kernel.release was .* and is "9.9" now'),
        (("machine", "cpu", "model"), None, "machine.cpu.model was .* and is not known now"),
        (("versions", "packages", "trio"), "99", 'versions.packages.trio was .* and is "99" now'),
        (("versions", "git", "revision"), "f" * 40, 'versions.git.revision was .* and is "f{40}" now'),
        (("link", "kind"), "loopback", 'link.kind was "lan" and is "loopback" now'),
        (("link", "congestion_control", "server"), "bbr", "link.congestion_control was .*cubic.* and is .*bbr.* now"),
        (("link", "emulator", "name"), "netem", 'link.emulator was {"name": "tun"} and is {"name": "netem"} now'),
        (("server", "version"), "nginx 2", 'server.version was "nginx 1.22.1" and is "nginx 2" now'),
    ],
)
def test_a_change_is_one_sentence(
    captured: environment.Environment, path: tuple[str, ...], value: object, sentence: str
) -> None:
    changed = copy.deepcopy(captured)
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    changed["fingerprint"] = environment.fingerprint(changed)
    (said,) = environment.compare(captured, changed)
    assert re.fullmatch(sentence, said)


def test_what_may_change_is_not_in_the_fingerprint(captured: environment.Environment) -> None:
    changed = copy.deepcopy(captured)
    changed["machine"]["load_average"] = [9.0, 9.0, 9.0]
    changed["link"]["rtt_idle_us"] = 1.0
    changed["versions"]["packages"]["matplotlib"] = "99"
    assert environment.fingerprint(changed) == captured["fingerprint"]


def test_another_schema_is_said_once(captured: environment.Environment) -> None:
    said = environment.compare(captured | {"schema_version": 0}, captured)
    assert said == ["schema_version was 0 and is 1 now"]


def test_a_file_without_fingerprint(captured: environment.Environment) -> None:
    old = {"schema_version": 1}
    assert environment.compare(old, captured) == [
        "environment.json has no fingerprint, so nobody can tell what has changed"
    ]


def test_a_fingerprint_that_lacks_something_has_changed(captured: environment.Environment) -> None:
    old = copy.deepcopy(captured)
    del old["fingerprint"]["link.kind"]
    assert environment.compare(old, captured) == ['link.kind was not known and is "lan" now']


def _set(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        for name in path[:-1]:
            found = found[name]
        found[path[-1]] = to

    return change


SPOILED = {
    "governor": _set("machine", "cpu", "governors", to=["performance", "powersave"]),
    "boost": _set("machine", "cpu", "boost", to=True),
    "other-load": _set("machine", "load_average", to=[5.0, 0.0, 0.0]),
    "few-cores": _set("machine", "cpu", "usable", to=2),
    "virtual-machine": _set("machine", "virtualisation", to="kvm"),
    "low-nofile": _set("machine", "limits", "nofile", to={"soft": 1024, "hard": 4096}),
    "low-nproc": _set("machine", "limits", "nproc", to={"soft": 100, "hard": 100}),
    "dirty-tree": _set("versions", "git", "dirty", to=True),
    "unknown-revision": _set("versions", "git", "why_not", to="detected dubious ownership"),
    "environment-variables": _set("machine", "environment", to={"LD_PRELOAD": "x.so", "SSL_CERT_FILE": "/ca"}),
    "link-fell-back": _set("link", "fell_back", to=True),
    "congestion-control": _set("link", "congestion_control_pinned", to=False),
}


def test_every_warning_is_tried_below() -> None:
    assert [check.code for check in checks.CHECKS] == list(SPOILED)


@pytest.mark.parametrize("code", SPOILED)
def test_each_warning_has_its_cause_and_advice(perfect: environment.Environment, code: str) -> None:
    SPOILED[code](perfect)
    (warning,) = checks.find_warnings(perfect)
    assert warning["code"] == code
    assert warning["text"].endswith(".")
    assert warning["advice"]


def test_a_hypervisor_is_seen_without_any_program(perfect: environment.Environment) -> None:
    perfect["machine"]["virtualisation"] = None
    perfect["machine"]["cpu"]["hypervisor"] = True
    assert [warning["code"] for warning in checks.find_warnings(perfect)] == ["virtual-machine"]


def test_a_machine_that_shows_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_CPU", tmp_path)
    monkeypatch.setattr(machine, "_NODES", tmp_path)
    monkeypatch.setattr(machine, "text", lambda _path: None)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    found = machine.capture()
    assert found["id_sha256"] is None
    assert found["memory_bytes"] is None
    assert found["virtualisation"] is None
    cpu = found["cpu"]
    assert isinstance(cpu, dict)
    assert cpu["governors"] == []
    for name in ("model", "logical", "physical", "hypervisor", "boost", "smt"):
        assert cpu[name] is None


def test_a_machine_that_shows_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path, value in {
        "cpu0/cpufreq/scaling_governor": "powersave",
        "cpu1/cpufreq/scaling_governor": "performance",
        "cpufreq/boost": "1",
        "smt/active": "1",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{value}\n")
    monkeypatch.setattr(machine, "_CPU", tmp_path)
    cpu = machine.capture()["cpu"]
    assert isinstance(cpu, dict)
    assert cpu["governors"] == ["performance", "powersave"]
    assert cpu["boost"] is True
    assert cpu["smt"] is True


CPUINFO = """processor\t: 0
model name\t: Intel(R) Core(TM) i7-8700
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme

processor\t: 1
model name\t: Intel(R) Core(TM) i7-8700
physical id\t: 0
core id\t\t: 0
flags\t\t: fpu vme
"""


def test_two_threads_of_one_core() -> None:
    assert machine.cpu_of(CPUINFO) == {
        "model": "Intel(R) Core(TM) i7-8700", "logical": 2, "physical": 1, "hypervisor": False,
    }  # fmt: skip
    assert machine.cpu_of(CPUINFO.replace("vme", "hypervisor"))["hypervisor"] is True


@untimed
@given(st.text())
def test_any_text_of_the_kernel_is_read_without_an_error(text: str) -> None:
    assert set(machine.cpu_of(text)) == {"model", "logical", "physical", "hypervisor"}
    assert machine.memory_of(text) is None or "MemTotal" in text
    assert machine.boost_of(text, text) in {None, True, False}


def test_memory() -> None:
    assert machine.memory_of("MemTotal:       24683604 kB\nMemFree: 1 kB\n") == 24683604 * 1024


@pytest.mark.parametrize(
    ("no_turbo", "boost", "expected"),
    [
        ("0", None, True),
        ("1", None, False),
        (None, "1", True),
        (None, "0", False),
        (None, None, None),
        ("?", "?", None),
    ],
)
def test_boost(no_turbo: str | None, boost: str | None, expected: bool | None) -> None:
    assert machine.boost_of(no_turbo, boost) is expected


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "project"
    (root / "harness").mkdir(parents=True)
    (root / "harness" / "a.py").write_text("1\n")
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.test"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(root), *arguments], check=True)
    return root


def test_a_clean_and_a_dirty_checkout(checkout: Path) -> None:
    clean = versions.git(checkout)
    assert re.fullmatch("[0-9a-f]{40}", str(clean["revision"]))
    assert clean["dirty"] is False
    (checkout / "new.txt").write_text("new")
    assert versions.git(checkout) == clean | {"dirty": True}


def test_no_checkout_has_no_revision(checkout: Path) -> None:
    nothing = {"revision": None, "dirty": None, "why_not": ""}
    assert versions.git(checkout / "harness") == nothing
    assert versions.git(checkout.parent / "nowhere") == nothing


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user_says_why_its_revision_is_not_known(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git refuses it (safe.directory), also to root."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    os.chown(checkout, 12_345, 12_345)
    os.chown(checkout / ".git", 12_345, 12_345)
    said = f"detected dubious ownership in repository at '{checkout}'"
    assert versions.git(checkout) == {"revision": None, "dirty": None, "why_not": said}


def test_without_git_a_checkout_says_so(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    said = "git cannot be started: No such file or directory"
    assert versions.git(checkout) == {"revision": None, "dirty": None, "why_not": said}


def test_the_hash_of_the_source_sees_every_change(checkout: Path) -> None:
    first = versions.source_sha256(checkout)
    (checkout / "harness" / "a.py").write_text("2\n")
    second = versions.source_sha256(checkout)
    (checkout / "harness" / "a.py").rename(checkout / "harness" / "b.py")
    third = versions.source_sha256(checkout)
    (checkout / "harness" / "notes.txt").write_text("no source")
    assert len({first, second, third}) == 3
    assert versions.source_sha256(checkout) == third
