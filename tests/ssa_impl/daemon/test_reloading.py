"""What a reload survives."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import pytest
import trio

from ssa_impl.daemon.fleet import Fleet
from ssa_impl.daemon.mail import Ask
from ssa_impl.daemon.processes import Worker
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


@dataclass
class Scripted:
    """A fleet in which another worker becomes ready while a policy is prepared."""

    policy: Policy
    ready: list[Worker]
    late: Worker
    heard: list[tuple[int, object]] = field(default_factory=list)
    closing = True  # the workers stay

    @property
    def all(self) -> list[Worker]:
        return list(self.ready)

    async def prepare(self, worker: Worker, _file: int, *, stays: bool) -> bytes:
        self.heard.append((worker.index, "prepare"))
        self.ready.append(self.late)
        return b""

    def govern(self, policy: Policy, file: int) -> None:
        os.close(file)
        self.policy = policy

    def replace(self, _hired: object) -> list[Worker]:
        return []

    async def adopt(self, worker: Worker) -> None:
        if worker.policy is not self.policy:
            self.heard.append((worker.index, "adopt"))
            worker.policy = self.policy

    async def ask_all(self, what: Ask, parameter: bytes, _patience_s: float) -> dict[Worker, bytes]:
        self.heard += [(worker.index, (what, parameter)) for worker in self.all]
        return {worker: b"%d" % (worker.index + 1) for worker in self.all}

    def retire(self, _workers: object) -> None:
        return


def test_a_worker_that_becomes_ready_meanwhile_has_its_connections_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssa_impl.daemon.reloading.check", lambda policy: [])
    policy = Policy()
    with ExitStack() as stack:

        def worker(index: int) -> Worker:
            end = stack.enter_context(socket.socket(socket.AF_UNIX))
            return Worker(index, index, cast(subprocess.Popen[bytes], None), end, index, policy)

        early, late = worker(0), worker(1)
        fleet = Scripted(policy, [early], late)
        reloader = Reloader(Policy)
        closed = trio.run(partial(reloader.reload, cast(Fleet, fleet), enforce=True))
        reloader.keys.close()
    commit = (Ask.COMMIT, b"1")
    assert fleet.heard == [(0, "prepare"), (1, "adopt"), (0, commit), (1, commit)]
    assert closed == 1 + 2
