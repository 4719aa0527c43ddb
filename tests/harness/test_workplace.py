"""A work directory goes with its owner; what a killed one left goes with the next."""

import tempfile
from pathlib import Path

import pytest

from harness.workplace import workplace


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_two_that_live_leave_each_other_alone(temporary: Path) -> None:
    with workplace() as one:
        (one / "key.pem").write_text("secret")
        with workplace() as other:
            assert {one, other} == set(temporary.iterdir())
        assert (one / "key.pem").exists()
    assert list(temporary.iterdir()) == []


def test_what_was_left_is_taken_away_and_nothing_else(temporary: Path) -> None:
    with workplace() as made:
        left, others = made.with_name(f"{made.name}-left"), made.with_name(f"{made.name}-other")
    for directory in (left, others):
        directory.mkdir()
    (left / "lock").touch()
    (left / "www").mkdir()
    (others / "theirs").touch()  # no lock: one that is being made
    with workplace():
        assert not left.exists()
        assert (others / "theirs").exists()


def test_a_link_in_its_place_is_not_followed(temporary: Path) -> None:
    precious = temporary / "precious"
    precious.mkdir()
    (precious / "lock").touch()
    (temporary / "ssa-campaign-link").symlink_to(precious)
    with workplace():
        assert (precious / "lock").exists()
