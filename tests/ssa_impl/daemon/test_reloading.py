"""What a reload survives."""

from __future__ import annotations

import logging
from typing import cast

import pytest
import trio

from ssa_impl.daemon.fleet import Fleet
from ssa_impl.daemon.reloading import PolicyRefused, Reloader
from ssa_impl.policy.policy import Policy


def test_a_defect_in_reading_files_is_a_refusal_and_not_the_daemons_end(caplog: pytest.LogCaptureFixture) -> None:
    def load() -> Policy:
        raise TypeError("unhashable")

    reloader = Reloader(load)
    with caplog.at_level(logging.ERROR, "ssad"), pytest.raises(PolicyRefused, match="a defect of the daemon kept"):
        trio.run(reloader.reload, cast(Fleet, None))  # it is not asked before the files are read
    assert "a defect of the daemon" in reloader.failure
    assert caplog.records[0].exc_info
