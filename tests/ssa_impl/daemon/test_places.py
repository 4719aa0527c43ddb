"""The directory that the daemon's processes meet in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_impl.daemon.places import private_directory


@pytest.mark.parametrize("removed", [False, True])
def test_the_private_directory_goes_with_the_daemon_whoever_removes_it(tmp_path: Path, removed: bool) -> None:
    place = tmp_path / "ssad.d"
    with private_directory(place):
        if removed:
            place.rmdir()
        else:
            (place / "leftover").touch()
    assert not place.exists()
