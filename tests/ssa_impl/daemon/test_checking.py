"""Everything that a reload would refuse is found without a daemon, and nothing is made or called good unseen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ssa_impl.daemon import checking
from ssa_impl.daemon.checking import Findings, examine
from ssa_impl.hardening.kernel import CannotHarden
from ssa_impl.keys import reading
from ssa_impl.policy.model import TLS_1_2, TLS_1_3, DaemonLimits, NamedKey, Profile
from ssa_impl.policy.policy import Policy
from tests.ssa_impl.credentials import issued

WEB, OTHER = issued("web.test"), issued("other.test")
IMPOSSIBLE = Policy({"default": Profile(version_min=TLS_1_3, version_max=TLS_1_2)})
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def keyed(place: Path, key: bytes = WEB.key) -> Policy:
    for name, content in (("chain", WEB.chain), ("key", key)):
        (place / name).write_bytes(content)
        (place / name).chmod(0o640)
    named = NamedKey("web", str(place / "chain"), str(place / "key"), frozenset({"default"}))
    return Policy(keys={"web": named})


def logging_to(path: Path) -> Policy:
    return Policy({name: Profile(name, key_log=str(path)) for name in ("default", "other")})


def test_a_policy_is_tried_before_it_is_used() -> None:
    assert checking.check(Policy()) == []
    (complaint,) = checking.check(IMPOSSIBLE)
    assert complaint.startswith("profile default: ")
    assert examine(IMPOSSIBLE).complaints == [complaint]


def test_key_files_are_read(tmp_path: Path) -> None:
    assert examine(keyed(tmp_path)) == Findings()
    (complaint,) = examine(keyed(tmp_path, OTHER.key)).complaints
    assert complaint.startswith(f"key web: {tmp_path / 'key'} does not match the first certificate")


def test_a_key_that_may_not_be_read_is_not_called_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, _flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    policy = keyed(tmp_path)
    monkeypatch.setattr(reading.os, "open", refuse)
    said = f"key web: {tmp_path / 'chain'} cannot be opened: Permission denied"
    assert examine(policy) == Findings(unchecked=[said])


def test_a_key_log_that_can_be_made_is_not_made(tmp_path: Path) -> None:
    assert examine(logging_to(tmp_path / "log")) == Findings()
    assert not (tmp_path / "log").exists()
    (tmp_path / "log").touch(mode=0o600)
    assert examine(logging_to(tmp_path / "log")) == Findings()


def made_open(path: Path) -> None:
    path.touch()
    path.chmod(0o644)


BAD_LOGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "open to others": (made_open, "must be a file of the daemon's user with mode 0600"),
    "a directory": (Path.mkdir, "cannot be opened: Is a directory"),
    "a pipe that nobody reads": (os.mkfifo, "cannot be opened: No such device or address"),
    "a link": (lambda path: path.symlink_to("elsewhere"), "cannot be opened: Too many levels of symbolic links"),
}


@pytest.mark.parametrize("kind", BAD_LOGS)
def test_a_key_log_that_cannot_be_is_one_complaint(tmp_path: Path, kind: str) -> None:
    make, said = BAD_LOGS[kind]
    make(tmp_path / "log")
    complaint = f"the policy's key log {tmp_path / 'log'} {said}"
    assert examine(logging_to(tmp_path / "log")) == Findings([complaint])
    assert [f"profile {name}: {complaint}" for name in ("default", "other")] == checking.check(
        logging_to(tmp_path / "log")
    )


def test_a_key_log_in_no_directory_is_one_complaint(tmp_path: Path) -> None:
    complaint = f"the policy's key log {tmp_path}/none/log cannot be opened: No such file or directory"
    assert examine(logging_to(tmp_path / "none" / "log")) == Findings([complaint])


@needs_root
def test_a_key_log_of_the_daemon_s_user_is_neither_good_nor_bad_to_root(tmp_path: Path) -> None:
    (tmp_path / "log").touch(mode=0o600)
    os.chown(tmp_path / "log", 12_345, 12_345)
    said = f"the policy's key log {tmp_path / 'log'} is user 12345's: only a daemon of that user can open it"
    assert examine(logging_to(tmp_path / "log")) == Findings(unchecked=[said])


def test_where_a_file_can_be_made_is_unknown_when_only_making_it_tells() -> None:
    said = "the policy's key log /proc/log cannot be opened: Operation not supported"
    assert examine(logging_to(Path("/proc/log"))) == Findings(unchecked=[said])


def test_landlock_that_is_required_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*, require_landlock: bool) -> None:
        assert require_landlock
        raise CannotHarden("none here")

    monkeypatch.setattr(checking.process, "check", refuse)
    assert examine(Policy(daemon=DaemonLimits(require_landlock=True))) == Findings(["none here"])
