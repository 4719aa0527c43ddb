"""The directory that the daemon's processes meet in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ssa_impl.daemon.places import CannotStart, private_directory


@pytest.mark.parametrize("removed", [False, True])
def test_the_private_directory_goes_with_the_daemon_whoever_removes_it(tmp_path: Path, removed: bool) -> None:
    with private_directory(tmp_path / "ssad") as place:
        if removed:
            place.rmdir()
        else:
            (place / "leftover").touch()
    assert not list(tmp_path.iterdir())


def test_it_is_one_daemon_s_at_a_time_and_a_dead_one_s_leftovers_go(tmp_path: Path) -> None:
    place = tmp_path / "ssad.d"
    place.mkdir(0o700)
    (place / "worker-1.inner").touch()
    with private_directory(tmp_path / "ssad"):
        assert not list(place.iterdir())
        (place / "worker-2.inner").touch()
        with pytest.raises(CannotStart, match=f"another ssad, process {os.getpid()}, has {tmp_path}/ssad; stop it, "):
            private_directory(tmp_path / "ssad").__enter__()
        assert (place / "worker-2.inner").exists()
    with private_directory(tmp_path / "ssad"):
        assert place.is_dir()


def test_what_another_daemon_has_made_in_its_place_is_left_alone(tmp_path: Path) -> None:
    with private_directory(tmp_path / "ssad") as place:
        (place / "ours").touch()
        place.rename(tmp_path / "elsewhere")
        place.mkdir()
        (place / "theirs").touch()
    assert [file.name for file in place.iterdir()] == ["theirs"]


def test_the_last_directory_of_its_path_is_made_and_removed_and_none_above(tmp_path: Path) -> None:
    with private_directory(tmp_path / "run" / "ssad"):
        pass
    with private_directory(tmp_path / "run" / "ssad") as place:
        (place.parent / "of somebody else").touch()
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["of somebody else"]
    with pytest.raises(CannotStart, match=f"cannot listen at {tmp_path}/no/run/ssad: No such file or directory; "):
        private_directory(tmp_path / "no" / "run" / "ssad").__enter__()
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
