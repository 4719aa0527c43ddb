"""Does a campaign's directory hold?  Every finding is one sentence; none means that it does."""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import stopping
from harness.campaign import LINKS, Campaign, read_campaign, read_looks, read_records
from harness.columns import flatten
from harness.errors import UsageError
from harness.jsonl import is_torn, read_lines_file
from harness.ledger import Ledger
from harness.records import LOOKS, SCHEMA_VERSION, Link, LinkSample, Look, Outcome, Record, Sample, Trial
from harness.runner import links_of, order_of

Key = tuple[str, int]


def check(path: Path) -> list[str]:
    """Every finding.  UsageError when it is no campaign's directory at all."""
    campaign = read_campaign(path)
    try:
        trials = list(read_records(path / "trials.jsonl", Trial))
        samples = list(read_records(path / "samples.jsonl", Sample))
        links = list(read_records(path / LINKS, LinkSample)) if (path / LINKS).is_file() else None
        looks = read_looks(path)
    except UsageError as error:
        return [str(error)]
    return [
        *_header(campaign),
        *_torn(path),
        *_follows_plan(campaign, trials, looks),
        *stopping.objections(campaign.plan, looks, trials),
        *_trials(campaign, trials),
        *_samples(trials, samples),
        *_links(campaign, trials, links),
        *_parquet(path / "trials.parquet", trials),
        *_parquet(path / "samples.parquet", samples),
    ]


def not_covered(path: Path) -> str:
    """What was computed and not recorded, so that no check looks into it, and which command does; may be empty."""
    if not (path / "verdict.json").exists():
        return ""
    return (
        f"  What was computed from it is not looked into: python -m analysis verify {path} computes verdict.json again,"
        f" and python -m analysis all {path} makes the figures and the report anew."
    )


def _header(campaign: Campaign) -> Iterator[str]:
    plan, manifest = campaign.plan, campaign.manifest
    if (version := campaign.environment.get("schema_version")) != SCHEMA_VERSION:
        yield f"environment.json: has schema version {version}, and this harness writes {SCHEMA_VERSION}."
    if manifest.plan_sha256 != plan.sha256:
        yield "plan.json: the plan is not the one that the campaign began with (its hash differs)."
    if plan.every_profile != (manifest.profiles or (manifest.profile,)):
        yield "plan.json: plan and manifest disagree about profiles."
    if plan.links and plan.links != manifest.links:
        yield "plan.json: plan and manifest disagree about links."
    for name in ("preset", "size_bytes", "levels", "blocks", "stacks", "boundaries", "seed", "judgement", "stopping"):
        if getattr(plan, name) != getattr(manifest, name):
            yield f"plan.json: plan and manifest disagree about {name}."


def _torn(path: Path) -> Iterator[str]:
    names = ("trials.jsonl", "samples.jsonl", *(name for name in (LINKS, LOOKS) if (path / name).is_file()))
    for name in names:
        if is_torn(read_lines_file(path / name)):
            yield f"{name}: the last line is torn; it was never acknowledged, and resume cuts it off."


def _follows_plan(campaign: Campaign, trials: Sequence[Trial], looks: Sequence[Look]) -> Iterator[str]:
    ledger = Ledger(order_of(campaign.plan, links_of(campaign.manifest)), campaign.plan.max_attempts)
    for trial in trials:
        try:
            ledger.record(trial.trial_id, trial.attempt, ok=trial.outcome is Outcome.OK)
        except ValueError as error:
            yield f"trials.jsonl: {error}."
            return
    ended_at = looks[-1].blocks if stopping.is_over(looks) else campaign.plan.blocks
    if ledger.blocks_done < ended_at:
        total = campaign.plan.trials
        yield (
            f"The campaign is not complete: {total - len(ledger.remaining)} of {total} trials;"
            f" go on with: python -m harness resume {campaign.path}"
        )
    for pair in ledger.given_up:
        yield f"Pair {pair.pair} (block {pair.block}, n = {pair.n}) failed in every attempt."


def _trials(campaign: Campaign, trials: Sequence[Trial]) -> Iterator[str]:
    order = order_of(campaign.plan, links_of(campaign.manifest))
    planned = {trial.trial_id: trial for pair in order for trial in pair.trials}
    for place, trial in enumerate(trials):
        if trial.sequence != place:
            yield f"trials.jsonl: {trial.trial_id} has sequence {trial.sequence}, but stands in place {place}."
        if trial.campaign != campaign.manifest.campaign:
            yield f"trials.jsonl: {trial.trial_id} belongs to another campaign, {trial.campaign}."
        expected = planned.get(trial.trial_id)
        for name in ("block", "pair", "position", "arm", "stack", "n", "boundary"):
            if expected is not None and getattr(trial, name) != getattr(expected, name):
                yield f"trials.jsonl: {trial.trial_id} is not as planned: {name} is {getattr(trial, name)}."
        if expected is not None and (trial.link.value, trial.profile) != (expected.part.link, expected.part.profile):
            yield f"trials.jsonl: {trial.trial_id} is not of the part that was planned, {expected.part}."


def _samples(trials: Sequence[Trial], samples: Sequence[Sample]) -> Iterator[str]:
    by_trial: dict[Key, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_trial[sample.trial_id, sample.attempt].append(sample)
    for trial in trials:
        key = (trial.trial_id, trial.attempt)
        yield from _samples_of(trial, by_trial.pop(key, []))
    for trial_id, attempt in by_trial:
        yield f"samples.jsonl: {trial_id}, attempt {attempt}, has samples, but was never recorded."
    hashes = Counter(sample.body_sha256 for sample in samples if sample.outcome is Outcome.OK)
    if len(hashes) > 1:
        yield f"samples.jsonl: successful downloads have {len(hashes)} different SHA-256."


def _links(campaign: Campaign, trials: Sequence[Trial], links: Sequence[LinkSample] | None) -> Iterator[str]:
    if links is None:
        if Link.WAN in links_of(campaign.manifest):
            yield f"{LINKS}: is missing, so nobody can tell whether the emulated link was one."
        return
    recorded = {(trial.trial_id, trial.attempt): trial.sequence for trial in trials}
    for link in links:
        if recorded.get((link.trial_id, link.attempt)) != link.sequence:
            yield f"{LINKS}: {link.trial_id}, attempt {link.attempt}, was never recorded as trial {link.sequence}."
    if len(links) != len(trials):
        yield f"{LINKS}: has {len(links)} lines for {len(trials)} trials."


def _samples_of(trial: Trial, samples: Sequence[Sample]) -> Iterator[str]:
    name = f"samples.jsonl: {trial.trial_id}, attempt {trial.attempt},"
    if sorted(sample.process for sample in samples) != list(range(trial.n)):
        yield f"{name} has {len(samples)} samples that are not the processes 0 to {trial.n - 1}."
    elif trial.outcome is Outcome.OK:
        if any(sample.outcome is not Outcome.OK for sample in samples):
            yield f"{name} is ok, but has samples that are not."
        elif trial.elapsed_ns != max(sample.last_byte_offset_ns or 0 for sample in samples):
            yield f"{name} does not end with its slowest sample's last byte."


def _parquet(path: Path, records: Sequence[Record]) -> Iterator[str]:
    if not path.is_file():
        yield f"{path.name}: is missing; python -m harness resume {path.parent} writes it."
        return
    pq = importlib.import_module("pyarrow.parquet")
    try:
        rows = pq.read_table(path).to_pylist()
    except Exception as error:
        yield f"{path.name}: cannot be read ({error})."
        return
    if rows != [flatten(record) for record in records]:
        yield (
            f"{path.name}: does not hold the same rows as {path.stem}.jsonl; SHA256SUMS or a copy tells which of them"
            " was recorded, and resume makes it anew from the lines."
        )
