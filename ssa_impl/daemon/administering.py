"""The daemon's answers to its administrator: what the parent knows, and what it hears from its workers."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from OpenSSL import SSL

from .. import __version__
from ..administration import scrape, service
from ..administration.answers import (
    Drained,
    Explanation,
    PolicyStatus,
    Profiles,
    Reloaded,
    Sessions,
    SessionStatus,
    Status,
    WorkerStatus,
)
from ..administration.client import admin_path
from ..administration.explaining import application_as, explanation, profiles, user_name
from ..administration.interface import SESSIONS_AT_MOST, Caller, Question, Refused
from ..administration.metrics import Totals, from_json_value
from ..administration.openmetrics import render
from ..administration.plain import from_plain
from .identity import Unidentified, identify
from .mail import Ask
from .processes import Worker
from .reloading import PolicyRefused

if TYPE_CHECKING:
    from .parent import Parent

_OPENSSL = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()


async def administer(
    parent: Parent, nursery: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer administrators and scrapers beside the control socket; ``nursery`` is where a drain runs.

    Raises OSError when it cannot listen there.
    """
    administration = Administration(parent, nursery)
    with (
        service.listening(admin_path(parent.path)) as administrators,
        service.listening(scrape.metrics_path(parent.path)) as scrapers,
    ):
        task_status.started()
        async with trio.open_nursery() as serving:
            serving.start_soon(service.serve, administrators, administration, os.geteuid())
            serving.start_soon(scrape.serve, scrapers, administration.metrics, os.geteuid())


class Administration:
    """The provider that :mod:`ssa_impl.administration.interface` describes."""

    def __init__(self, parent: Parent, nursery: trio.Nursery) -> None:
        self._parent = parent
        self._nursery = nursery
        self._started_at_s = time.time()
        self._totals = Totals(__version__, _OPENSSL, self._started_at_s)
        parent.fleet.ended = self._ended

    def _ended(self, worker: Worker, counted: bytes) -> None:
        if counted:
            self._totals.told(worker.serial, from_json_value(json.loads(counted)))
        self._totals.worker_ended(worker.serial, unasked=not counted)

    async def status(self) -> Status:
        """Say how the daemon, its workers and its policy are."""
        parent, fleet = self._parent, self._parent.fleet
        answers = await fleet.ask_all(Ask.STATUS)
        hardening = next((worker.hardening.describe() for worker in fleet.alive if worker.hardening), "")
        return Status(
            version=__version__,
            pid=os.getpid(),
            user=user_name(os.geteuid()),
            socket=str(parent.path),
            started_at_s=self._started_at_s,
            openssl=_OPENSSL,
            draining=parent.draining,
            workers=(
                *(self._worker(index, worker, answers) for index, worker in enumerate(fleet.workers)),
                *(self._worker(worker.index, worker, answers) for worker in fleet.retired),
            ),
            policy=PolicyStatus(
                fleet.policy.files, parent.reloader.loaded_at_s, len(fleet.policy.profiles), parent.reloader.failure
            ),
            hardening=tuple(hardening.split(", ")) if hardening else (),
        )

    def _worker(self, index: int, worker: Worker | None, answers: dict[Worker, bytes]) -> WorkerStatus:
        restarts = self._parent.fleet.restarts[index]
        if worker is None:
            return WorkerStatus(index, 0, "starting", restarts=restarts)
        if worker not in answers:
            return WorkerStatus(index, worker.process.pid, "silent", restarts=restarts)
        state = "retired" if worker.retired else "ready"
        return WorkerStatus(index, worker.process.pid, state, json.loads(answers[worker])["sockets"], restarts)

    async def sessions(self, uid: int | None, limit: int) -> Sessions:
        """Return the oldest secure sockets of one user, or of all."""
        answers = await self._parent.fleet.ask_all(Ask.SESSIONS, b"" if uid is None else str(uid).encode("ascii"))
        rows = [from_plain(SessionStatus, row) for answer in answers.values() for row in json.loads(answer)]
        rows.sort(key=lambda row: (row.opened_at_s, row.id))
        return Sessions(tuple(rows[:limit]), len(rows))

    async def profiles(self) -> Profiles:
        """Return the profiles of the policy in force."""
        sockets: dict[str, int] = {}
        for answer in (await self._parent.fleet.ask_all(Ask.STATUS)).values():
            for name, count in json.loads(answer)["profiles"].items():
                sockets[name] = sockets.get(name, 0) + count
        return profiles(self._parent.fleet.policy, sockets)

    async def explain(self, question: Question, caller: Caller) -> Explanation:
        """Say what applies to an application under the policy in force, and why."""
        if question.pid:
            try:
                application = identify(question.pid, 0)  # whoever may ask this administers the daemon
            except Unidentified as why:
                raise Refused(str(why)) from None
        else:
            application = application_as(question, caller.uid)
        found = explanation(self._parent.fleet.policy, application)
        opened = (await self.sessions(None, SESSIONS_AT_MOST)).sessions if question.pid else ()
        return replace(found, sessions=tuple(session for session in opened if session.pid == question.pid))

    async def reload(self, *, enforce: bool) -> Reloaded:
        """Load the policy again, all of it or nothing."""
        fleet = self._parent.fleet
        try:
            closed = await self._parent.reloader.reload(fleet, enforce=enforce)
        except PolicyRefused as refused:
            raise Refused("the policy was not changed", refused.complaints) from None
        return Reloaded(fleet.policy.files, len(fleet.policy.profiles), closed)

    async def drain(self) -> Drained:
        """Take no new sockets, and end with the last connection, however long that takes."""
        answers = await self._parent.fleet.ask_all(Ask.STATUS)
        self._parent.begin_to_drain(self._nursery, math.inf)
        return Drained(sum(json.loads(answer)["connections"] for answer in answers.values()))

    async def metrics(self) -> str:
        """Return the OpenMetrics text of the parent and all workers."""
        answers = await self._parent.fleet.ask_all(Ask.METRICS)
        for worker, answer in answers.items():
            self._totals.told(worker.serial, from_json_value(json.loads(answer)))
        self._totals.reloads(self._parent.reloader.reloads, self._parent.reloader.refusals)
        return render(self._totals.snapshot(sum(not worker.retired for worker in answers)))
