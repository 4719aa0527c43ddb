"""Campaigns from beginning to end: ``run`` begins one, ``resume`` goes on with one.

``run``: stage, ensemble, preflight; only then is the directory made, so a campaign that cannot begin leaves
nothing behind. ``resume``: the directory is locked and read first; plan, machine and versions must be those
that it began with.  Both then do the same: warm up, and run what the ledger says is next until it says
nothing.  Every trial is recorded the moment it has ended.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from harness import environment
from harness.assemble import Identity, Setting, assemble, link_sample
from harness.campaign import Campaign, Recorder, make_directory, read_campaign, write_header
from harness.errors import HarnessError, UsageError
from harness.forecast import Clock, warm_up_level
from harness.ledger import Ledger
from harness.links import LinkError
from harness.order import PlannedPair, make_order
from harness.plan import Plan
from harness.preflight import preflight
from harness.progress import Reporter
from harness.records import Link as LinkKind
from harness.records import Manifest, Outcome, Trial
from harness.signals import run_in_trio
from harness.stage import Stage, stage
from harness.trial import run_trial

_MORE_FAILURES = 2  # beyond max_attempts, one after the other: then something is broken for good


@dataclass(frozen=True)
class Ending:
    """How a campaign ended."""

    path: Path
    trials: int  # recorded
    not_ok: int
    given_up: int  # pairs


def order_of(plan: Plan) -> tuple[PlannedPair, ...]:
    """The order that the plan's seed gives."""
    return make_order(plan.levels, plan.blocks, plan.stacks, random.Random(plan.seed), plan.boundaries)


def run(plan: Plan, out: Path, reporter: Reporter) -> Ending:
    """A new campaign in a new directory below ``out``."""
    with stage(plan, plan.link) as scene:
        reporter.say(f"Link: {scene.link.kind}. {scene.link.why}")
        return run_in_trio(partial(_begin, plan, out, scene, reporter))


def resume(path: Path, reporter: Reporter) -> Ending:
    """Go on with a campaign.  UsageError when it is not one, or not of this machine, version and plan."""
    campaign = read_campaign(path)
    if campaign.manifest.plan_sha256 != campaign.plan.sha256:
        raise UsageError(f"{path / 'plan.json'} was changed: its hash is not the one that the campaign began with.")
    with Recorder(path) as recorder:
        reporter.campaign = path
        ledger = replay(campaign, recorder.trials)
        if ledger.next() is None:
            reporter.say("Every trial has been run already.")
            recorder.write_parquet()
            return _ending(path, recorder, ledger)
        with stage(campaign.plan, campaign.manifest.link.value) as scene:
            return run_in_trio(partial(_continue, campaign, recorder, ledger, (scene, reporter)))


def replay(campaign: Campaign, trials: list[Trial]) -> Ledger:
    """The ledger after what has been recorded.  UsageError when the records are not of this plan."""
    ledger = Ledger(order_of(campaign.plan), campaign.plan.max_attempts)
    for trial in trials:
        try:
            ledger.record(trial.trial_id, trial.attempt, ok=trial.outcome is Outcome.OK)
        except ValueError as error:
            raise UsageError(f"{campaign.path / 'trials.jsonl'} does not follow the plan: {error}.") from error
    return ledger


async def _begin(plan: Plan, out: Path, scene: Stage, reporter: Reporter) -> Ending:
    async with scene.ensemble.running():
        agreed, sha256 = await preflight(scene.ensemble, scene.link, plan.trial_timeout_s)
        link = LinkKind(scene.link.kind)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        surroundings = look_around(scene)
        for warning in surroundings["warnings"]:
            reporter.say(f"Warning: {warning['text']} {warning['advice']}")
        path = make_directory(out, f"{stamp}-{plan.preset}-{link.value}")
        write_header(path, plan, _manifest(plan, path.name, link, scene.server), surroundings)
        reporter.campaign = path
        with Recorder(path) as recorder:
            setting = Setting(plan, path.name, link, scene.server, sha256, agreed)
            ledger = Ledger(order_of(plan), plan.max_attempts)
            return await Session(scene, setting, recorder, ledger, reporter).run()


async def _continue(campaign: Campaign, recorder: Recorder, ledger: Ledger, where: tuple[Stage, Reporter]) -> Ending:
    scene, reporter = where
    plan, manifest = campaign.plan, campaign.manifest
    async with scene.ensemble.running():
        agreed, sha256 = await preflight(scene.ensemble, scene.link, plan.trial_timeout_s)
        differs = environment.compare(campaign.environment, look_around(scene))
        if differs:
            raise UsageError(f"{campaign.path} cannot go on here: {' '.join(differs)}")
        setting = Setting(plan, manifest.campaign, manifest.link, scene.server, sha256, agreed)
        return await Session(scene, setting, recorder, ledger, reporter).run()


def look_around(scene: Stage) -> environment.Environment:
    """What environment.json holds: the machine, and how clients and daemon run on it."""
    ensemble = scene.ensemble
    found = environment.capture(scene.link, ensemble.server)
    found["clients"] = {
        route.name: {
            "start_line": fleet.hello["start_line"],
            "openssl": fleet.hello["openssl"],
            **({"compiler": fleet.hello["compiler"]} if route.stack.is_c else {}),
        }
        for route, fleet in ensemble.fleets.items()
    }
    daemon = ensemble.daemon
    if daemon is not None:
        found["daemon"] = {
            "version": daemon.version,
            "openssl": daemon.openssl,
            "workers": len(daemon.pids) - 1,
        }
    if ensemble.proxies:
        found["proxies"] = {
            stack.value: {name: proxy.ready[name] for name in ("version", "openssl")}
            for stack, proxy in ensemble.proxies.items()
        }
    found["fingerprint"].update({name: found.get(name) for name in ("clients", "daemon")})
    found["fingerprint"].update({name: found[name] for name in ("proxies",) if name in found})
    return found


def _manifest(plan: Plan, campaign: str, link: LinkKind, server: str) -> Manifest:
    return Manifest(
        campaign=campaign,
        preset=plan.preset,
        profile=plan.profile,
        link=link,
        server=server,
        size_bytes=plan.size_bytes,
        levels=plan.levels,
        blocks=plan.blocks,
        stacks=plan.stacks,
        boundaries=plan.boundaries,
        seed=plan.seed,
        plan_sha256=plan.sha256,
        judgement=plan.judgement,
        inject_ms_per_process=plan.inject_ms_per_process,
    )


def _ending(path: Path, recorder: Recorder, ledger: Ledger) -> Ending:
    not_ok = sum(trial.outcome is not Outcome.OK for trial in recorder.trials)
    return Ending(path, len(recorder.trials), not_ok, len(ledger.given_up))


class Session:
    """From the warm-up to the last trial, or to an interruption."""

    def __init__(self, scene: Stage, setting: Setting, recorder: Recorder, ledger: Ledger, reporter: Reporter) -> None:
        self._scene = scene
        self._setting = setting
        self._recorder = recorder
        self._ledger = ledger
        self._reporter = reporter
        self._failures_in_a_row = 0
        self._block: int | None = None
        self._rtt_idle_us: float | None = None

    async def run(self) -> Ending:
        """Until the ledger has nothing more to run; then the Parquet files are written."""
        await self._warm_up()
        clock = Clock(self._setting.plan.size_bytes, time.monotonic())
        with self._reporter:
            while (due := self._ledger.next()) is not None:
                planned, attempt = due
                self._advance(clock, f"{planned.route.name}, n = {planned.n}")
                await self._one(Identity(planned, attempt, len(self._recorder.trials)))
                clock.done(planned.n)
        self._recorder.write_parquet()
        return _ending(self._recorder.path, self._recorder, self._ledger)

    async def _warm_up(self) -> None:
        """Run, and not recorded: caches, clocks and allocators settle."""
        plan = self._setting.plan
        for _ in range(plan.warm_up):
            for route in self._scene.ensemble.routes:
                observed = await run_trial(
                    self._scene.ensemble, self._scene.link, route, warm_up_level(plan), plan.trial_timeout_s
                )
                if observed.lost:
                    raise HarnessError(f"The warm-up failed: {observed.lost}")
        if plan.warm_up:
            n = warm_up_level(plan)
            self._reporter.say(f"Warmed up: {plan.warm_up} of each stack with n = {n}, not recorded.")

    async def _one(self, identity: Identity) -> None:
        ensemble = self._scene.ensemble
        await ensemble.replace_lost()
        planned = identity.planned
        await self._look_at_link(planned.block)
        plan = self._setting.plan
        held_back_ns = plan.held_back_ns(planned.arm, planned.n)
        observed = await run_trial(
            ensemble, self._scene.link, planned.route, planned.n, plan.trial_timeout_s, held_back_ns=held_back_ns
        )
        openssl = ensemble.daemon.openssl if ensemble.daemon is not None else None
        trial, samples = assemble(identity, self._setting, observed, openssl)
        self._recorder.append(trial, samples, link_sample(identity, observed, self._rtt_idle_us))
        self._ledger.record(trial.trial_id, trial.attempt, ok=trial.outcome is Outcome.OK)
        self._watch_failures(trial)

    async def _look_at_link(self, block: int) -> None:
        """Before each block, while nothing runs."""
        if block == self._block:
            return
        try:
            self._rtt_idle_us = await trio.to_thread.run_sync(self._scene.link.measure)
        except LinkError as error:
            raise HarnessError(str(error)) from error
        self._block = block

    def _watch_failures(self, trial: Trial) -> None:
        if trial.outcome is Outcome.OK:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        self._reporter.say(
            f"{trial.trial_id}, attempt {trial.attempt}: {trial.outcome.value}. {trial.reason}"
            " Its pair will be repeated."
        )
        if self._failures_in_a_row >= self._setting.plan.max_attempts + _MORE_FAILURES:
            raise HarnessError(
                f"{self._failures_in_a_row} trials failed one after the other, so the campaign was stopped;"
                f" the last reason: {trial.reason}"
            )

    def _advance(self, clock: Clock, what: str) -> None:
        remaining = self._ledger.remaining
        left_s = clock.left_s([trial.n for trial in remaining], time.monotonic())
        total = self._setting.plan.trials
        self._reporter.advance(total - len(remaining), total, left_s, what)
