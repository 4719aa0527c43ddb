"""Campaigns from beginning to end: ``run`` begins one, ``resume`` goes on with one.

``run``: stages, ensembles, preflight; only then is the directory made, so a campaign that cannot begin leaves
nothing behind. ``resume``: the directory is locked and read first; plan, machine and versions must be those
that it began with.  Both then do the same: warm up, and run what the ledger says is next until it says
nothing, or a look between two blocks says that it is enough.  Every trial is recorded the moment it has ended.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from harness import environment, stopping
from harness.assemble import Identity, Setting, assemble, link_sample
from harness.campaign import Campaign, Recorder, make_directory, read_campaign, try_directory, write_header
from harness.errors import HarnessError, UsageError
from harness.forecast import Clock, warm_up_level
from harness.ledger import Ledger
from harness.links import LinkError
from harness.order import Part, PlannedPair, PlannedTrial, make_order
from harness.plan import Plan
from harness.preflight import preflight
from harness.progress import Now, Reporter, Standing
from harness.records import Link as LinkKind
from harness.records import Manifest, Outcome, Trial
from harness.routes import Route
from harness.signals import run_in_trio
from harness.stage import Stage, stages
from harness.trial import run_trial
from harness.validity import Terms

_MORE_FAILURES = 2  # beyond max_attempts, one after the other: then something is broken for good


@dataclass(frozen=True)
class Ending:
    """How a campaign ended."""

    path: Path
    trials: int  # recorded
    not_ok: int
    given_up: int  # pairs


def order_of(plan: Plan, links: Sequence[str] | None = None) -> tuple[PlannedPair, ...]:
    """The order that the plan's seed gives; ``links``: what became of the plan's, when they are known."""
    parts = [Part(str(link), profile) for link in links or plan.every_link for profile in plan.every_profile]
    rng = random.Random(plan.seed)
    return make_order(plan.levels, plan.blocks, plan.stacks, rng, plan.boundaries, parts=parts)


def links_of(manifest: Manifest) -> tuple[LinkKind, ...]:
    """The links of a campaign that has begun."""
    return manifest.links or (manifest.link,)


def run(plan: Plan, out: Path, reporter: Reporter) -> Ending:
    """A new campaign in a new directory below ``out``."""
    try_directory(out)
    with stages(plan, plan.every_link) as scenes:
        for link in dict.fromkeys(scene.link for scene in scenes):
            reporter.say(f"Link: {link.kind}. {link.why}")
        return run_in_trio(partial(_begin, plan, out, scenes, reporter))


def resume(path: Path, reporter: Reporter) -> Ending:
    """Go on with a campaign.  UsageError when it is not one, or not of this machine, version and plan."""
    campaign = read_campaign(path)
    if campaign.manifest.plan_sha256 != campaign.plan.sha256:
        raise UsageError(f"{path / 'plan.json'} was changed: its hash is not the one that the campaign began with.")
    with Recorder(path) as recorder:
        reporter.campaign = path
        ledger = replay(campaign, recorder.trials)
        if wrong := next(stopping.objections(campaign.plan, recorder.looks, recorder.trials), None):
            raise UsageError(f"{path} does not follow its plan: {wrong}")
        if ledger.next() is None or stopping.is_over(recorder.looks):
            reporter.say("Nothing is left to run.")
            recorder.write_parquet()
            return _ending(path, recorder, ledger)
        with stages(campaign.plan, [link.value for link in links_of(campaign.manifest)]) as scenes:
            return run_in_trio(partial(_continue, campaign, recorder, ledger, (scenes, reporter)))


def replay(campaign: Campaign, trials: list[Trial]) -> Ledger:
    """The ledger after what has been recorded.  UsageError when the records are not of this plan."""
    ledger = Ledger(order_of(campaign.plan, links_of(campaign.manifest)), campaign.plan.max_attempts)
    for trial in trials:
        try:
            ledger.record(trial.trial_id, trial.attempt, ok=trial.outcome is Outcome.OK)
        except ValueError as error:
            raise UsageError(f"{campaign.path / 'trials.jsonl'} does not follow the plan: {error}.") from error
    return ledger


async def _begin(plan: Plan, out: Path, scenes: Sequence[Stage], reporter: Reporter) -> Ending:
    async with _everybody(scenes):
        links = tuple(LinkKind(kind) for kind in dict.fromkeys(scene.link.kind for scene in scenes))
        terms = await _preflights(plan, scenes)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        surroundings = look_around(scenes)
        for warning in surroundings["warnings"]:
            reporter.say(f"Warning: {warning['text']} {warning['advice']}")
        path = make_directory(out, f"{stamp}-{plan.preset}-{'-'.join(links)}")
        write_header(path, plan, _manifest(plan, path.name, links, scenes[0].server), surroundings)
        reporter.campaign = path
        with Recorder(path) as recorder:
            ledger = Ledger(order_of(plan, links), plan.max_attempts)
            return await Session(_at_work(plan, path.name, scenes, terms), recorder, ledger, reporter).run()


async def _continue(
    campaign: Campaign, recorder: Recorder, ledger: Ledger, where: tuple[Sequence[Stage], Reporter]
) -> Ending:
    scenes, reporter = where
    async with _everybody(scenes):
        terms = await _preflights(campaign.plan, scenes)
        differs = environment.compare(campaign.environment, look_around(scenes))
        if differs:
            raise UsageError(f"{campaign.path} cannot go on here: {' '.join(differs)}")
        at_work = _at_work(campaign.plan, campaign.manifest.campaign, scenes, terms)
        return await Session(at_work, recorder, ledger, reporter).run()


@asynccontextmanager
async def _everybody(scenes: Sequence[Stage]) -> AsyncIterator[None]:
    async with AsyncExitStack() as running:
        for scene in scenes:
            await running.enter_async_context(scene.ensemble.running())
        yield


async def _preflights(plan: Plan, scenes: Sequence[Stage]) -> list[tuple[dict[Route, Terms], str]]:
    return [await preflight(scene.ensemble, scene.link, plan.trial_timeout_s) for scene in scenes]


@dataclass(frozen=True)
class AtWork:
    """One part: where it is measured, and what is the same for all its trials."""

    scene: Stage
    setting: Setting


def _at_work(
    plan: Plan, campaign: str, scenes: Sequence[Stage], terms: Sequence[tuple[Mapping[Route, Terms], str]]
) -> dict[Part, AtWork]:
    return {
        scene.part: AtWork(
            scene, Setting(plan, campaign, LinkKind(scene.link.kind), scene.server, sha256, agreed, scene.profile)
        )
        for scene, (agreed, sha256) in zip(scenes, terms, strict=True)
    }


def look_around(scenes: Sequence[Stage]) -> environment.Environment:
    """What environment.json holds: the machine, and how clients and daemons run on it (all parts' alike)."""
    ensemble = scenes[0].ensemble
    links = list(dict.fromkeys(scene.link for scene in scenes))
    found = environment.capture(links[0], ensemble.server, links[1:])
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
            "workers": daemon.workers,
        }
    if ensemble.proxies:
        found["proxies"] = {
            stack.value: {name: proxy.ready[name] for name in ("version", "openssl")}
            for stack, proxy in ensemble.proxies.items()
        }
    found["fingerprint"].update({name: found.get(name) for name in ("clients", "daemon")})
    found["fingerprint"].update({name: found[name] for name in ("proxies",) if name in found})
    return found


def _manifest(plan: Plan, campaign: str, links: tuple[LinkKind, ...], server: str) -> Manifest:
    return Manifest(
        campaign=campaign,
        preset=plan.preset,
        profile=plan.every_profile[0],
        link=links[0],
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
        stopping=plan.stopping,
        links=links,
        profiles=plan.every_profile,
    )


def _ending(path: Path, recorder: Recorder, ledger: Ledger) -> Ending:
    not_ok = sum(trial.outcome is not Outcome.OK for trial in recorder.trials)
    return Ending(path, len(recorder.trials), not_ok, len(ledger.given_up))


class Session:
    """From the warm-up to the last trial, or to an interruption."""

    def __init__(self, at_work: Mapping[Part, AtWork], recorder: Recorder, ledger: Ledger, reporter: Reporter) -> None:
        self._at_work = at_work
        self._plan = next(iter(at_work.values())).setting.plan
        self._recorder = recorder
        self._ledger = ledger
        self._reporter = reporter
        self._standing = Standing()
        for trial in recorder.trials:
            self._standing.add(trial)
        self._failures_in_a_row = 0
        self._looked: tuple[int, Part] | None = None
        self._rtt_idle_us: float | None = None

    async def run(self) -> Ending:
        """Until the ledger has nothing more to run, or a look ends it; then the Parquet files are written."""
        await self._rehearse_look()
        for part in self._at_work.values():
            if lost := await self._warm_up(part.scene):
                raise HarnessError(f"The warm-up failed: {lost}")
        if self._plan.warm_up:
            n = warm_up_level(self._plan)
            self._reporter.say(f"Warmed up: {self._plan.warm_up} of each stack with n = {n}, not recorded.")
        clock = Clock(self._plan.size_bytes, time.monotonic())
        with self._reporter:
            while (due := self._ledger.next()) is not None and not await self._is_enough():
                planned, attempt = due
                self._advance(clock, planned)
                await self._one(Identity(planned, attempt, len(self._recorder.trials)))
                clock.done(planned.n)
        self._recorder.write_parquet()
        return _ending(self._recorder.path, self._recorder, self._ledger)

    async def _rehearse_look(self) -> None:
        """That the analysis can be started, and knows the same parts, is known before the first trial."""
        if self._plan.stopping is None:
            return
        told = {(one.link, one.profile) for one in await stopping.half_widths(self._recorder.path, 0)}
        if told != {(part.link, part.profile) for part in self._at_work}:
            raise HarnessError(f"The analysis sees other parts in {self._recorder.path} than the plan has.")

    async def _is_enough(self) -> bool:
        """Between two blocks, when a look is due: take it, and say whether it ends the campaign."""
        rule, recorder = self._plan.stopping, self._recorder
        blocks = self._ledger.blocks_done
        if rule is not None and stopping.is_due(self._plan, recorder.looks, blocks):
            recorder.append_look(await stopping.look(recorder.path, rule, blocks, len(recorder.trials)))
            self._reporter.say(stopping.told(recorder.looks[-1], self._plan))
        return stopping.is_over(recorder.looks)

    async def _warm_up(self, scene: Stage) -> str:
        """Run, and not recorded: caches, clocks and allocators settle.  Ends with who is lost, if anybody is."""
        plan = self._plan
        for _ in range(plan.warm_up):
            for route in scene.ensemble.routes:
                observed = await run_trial(scene.ensemble, scene.link, route, warm_up_level(plan), plan.trial_timeout_s)
                if observed.lost:
                    return observed.lost
        return ""

    async def _replace_lost(self, scene: Stage) -> None:
        """Whoever is new is warmed up as all were before the first trial."""
        if await scene.ensemble.replace_lost() and self._plan.warm_up:
            self._reporter.say("Somebody was replaced, so all were warmed up again.")
            if await self._warm_up(scene):
                await scene.ensemble.replace_lost()

    async def _one(self, identity: Identity) -> None:
        planned, plan = identity.planned, self._plan
        scene, setting = self._at_work[planned.part].scene, self._at_work[planned.part].setting
        ensemble = scene.ensemble
        await self._replace_lost(scene)
        await self._look_at_link(planned.block, scene)
        held_back_ns = plan.held_back_ns(planned.arm, planned.n)
        observed = await run_trial(
            ensemble, scene.link, planned.route, planned.n, plan.trial_timeout_s, held_back_ns=held_back_ns
        )
        openssl = ensemble.daemon.openssl if ensemble.daemon is not None else None
        trial, samples = assemble(identity, setting, observed, openssl)
        self._recorder.append(trial, samples, link_sample(identity, observed, self._rtt_idle_us))
        self._ledger.record(trial.trial_id, trial.attempt, ok=trial.outcome is Outcome.OK)
        self._standing.add(trial)
        self._watch_failures(trial)

    async def _look_at_link(self, block: int, scene: Stage) -> None:
        """Before each block of each part, while nothing runs."""
        if self._looked == (block, scene.part):
            return
        try:
            self._rtt_idle_us = await trio.to_thread.run_sync(scene.link.measure)
        except LinkError as error:
            raise HarnessError(str(error)) from error
        self._looked = (block, scene.part)

    def _watch_failures(self, trial: Trial) -> None:
        if trial.outcome is Outcome.OK:
            self._failures_in_a_row = 0
            return
        self._failures_in_a_row += 1
        self._reporter.say(
            f"{trial.trial_id}, attempt {trial.attempt}: {trial.outcome.value}. {trial.reason}"
            " Its pair will be repeated."
        )
        if self._failures_in_a_row >= self._plan.max_attempts + _MORE_FAILURES:
            raise HarnessError(
                f"{self._failures_in_a_row} trials failed one after the other, so the campaign was stopped;"
                f" the last reason: {trial.reason}"
            )

    def _advance(self, clock: Clock, planned: PlannedTrial) -> None:
        remaining = self._ledger.remaining
        left_s = clock.left_s([trial.n for trial in remaining], time.monotonic())
        total = self._plan.trials
        part = f", {planned.part}" if len(self._at_work) > 1 else ""
        what = f"{planned.name}, n = {planned.n}{part}"
        medians, not_ok = self._standing.medians(planned), self._standing.not_ok
        at_most = self._plan.stopping is not None
        self._reporter.advance(Now(total - len(remaining), total, left_s, what, medians, not_ok, at_most=at_most))
