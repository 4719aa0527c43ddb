"""Without privilege: in a user namespace of its own, or not at all, and then with the reason."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.links import enter, tun
from tests.harness.program import Program

WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-all,+setfcap")  # setfcap: root is who is mapped (user_namespaces(7))
WITHOUT_NAMESPACES = (
    *("unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" "$@"'),
    *WITHOUT_PRIVILEGE,
)
ONLY_OPENSSL = ("--set", 'stacks=["openssl", "openssl"]')

pytestmark = [
    pytest.mark.system,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has a privilege to give up"),
]
Make = Callable[[tuple[str, ...]], Program]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Make]:
    with tempfile.TemporaryDirectory(prefix="ssa-t-") as temporary:
        made: list[Program] = []

        def make(before: tuple[str, ...]) -> Program:
            made.append(Program(tmp_path, Path(temporary), before))
            return made[-1]

        yield make
        for program in made:
            program.wait_until_all_ended()


def namespaces(pid: int) -> set[str]:
    """Return those that this process has named."""
    return {path.name for path in Path(enter.DIRECTORY).glob(f"ssa-{pid}-*")}


@pytest.mark.parametrize(("asked", "found"), [("auto", "lan"), ("lan", "lan"), ("wan", "wan")])
def test_links_are_made_in_a_user_namespace(harness: Make, asked: str, found: str) -> None:
    program = harness(WITHOUT_PRIVILEGE)
    ended = program.run("--link", asked, *ONLY_OPENSSL, blocks=1)
    assert ended.code == 0, ended.said
    environment = json.loads((program.campaign / "environment.json").read_bytes())
    assert environment["link"]["kind"] == found
    assert not environment["link"]["fell_back"]
    assert not namespaces(ended.pid), "its namespaces are seen by nobody else"


def test_a_device_that_this_user_may_not_open_says_so(harness: Make, tmp_path: Path) -> None:
    closed = tmp_path / "tun"
    closed.touch(0)
    os.chown(closed, 1, 1)  # neither is mapped, so not even the namespace's root may pass
    hide = ("unshare", "-m", "sh", "-c", f'mount --bind {closed} {tun.DEVICE} && exec "$0" "$@"')
    asked = ("--link", "wan", "--set", "emulator=tun")
    ended = harness((*hide, *WITHOUT_PRIVILEGE)).run(*asked, *ONLY_OPENSSL, blocks=1)
    assert ended.code == 3
    assert f"This user may not open {tun.DEVICE} (Permission denied); `chmod 666 {tun.DEVICE}`" in ended.sentence


def test_what_began_without_privilege_goes_on_without(harness: Make) -> None:
    program = harness(WITHOUT_PRIVILEGE)
    with program.started(*program.run_arguments("--link", "lan", *ONLY_OPENSSL, blocks=20)) as running:
        running.until("2/")
        running.signal(signal.SIGINT)
        ended = running.end()
    assert ended.code == 130, ended.said
    ended = program("resume", str(program.campaign), "--no-analysis")
    assert ended.code == 0, ended.said


def test_a_machine_without_user_namespaces_says_so(harness: Make) -> None:
    ended = harness(WITHOUT_NAMESPACES).run("--link", "wan", *ONLY_OPENSSL, blocks=1)
    assert ended.code == 3
    assert "allow user namespaces to ordinary users" in ended.said


def test_a_machine_without_user_namespaces_has_loopback(harness: Make) -> None:
    program = harness(WITHOUT_NAMESPACES)
    ended = program.run("--link", "auto", *ONLY_OPENSSL, blocks=1)
    assert ended.code == 0, ended.said
    environment = json.loads((program.campaign / "environment.json").read_bytes())
    assert environment["link"]["kind"] == "loopback"
    assert environment["link"]["fell_back"]
