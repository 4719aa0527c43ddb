"""Campaigns with a known truth, to try the pipeline on.  Nothing in them was measured, and they say so.

:func:`simulate` is pure and quick: one row a trial, with the columns that the models need.  :func:`campaign`
dresses the same rows as records, samples, plan and environment, and :func:`write` puts them into a directory
as the harness does.  Preset and server are called ``synthetic``, and the environment carries a warning.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.frames import SYNTHETIC_PRESET, arm_names
from harness.records import (
    SCHEMA_VERSION,
    Boundary,
    Cpu,
    Judgement,
    Link,
    Manifest,
    Outcome,
    Profile,
    Sample,
    Stack,
    Trial,
)

OPENSSL = "OpenSSL 0.0.0 (synthetic)"
WARNING = {
    "code": "synthetic",
    "text": "These data are synthetic: they were computed from a formula, and nothing was measured.",
    "advice": "Use them to try the analysis; run 'python -m harness run' for a real campaign.",
}


@dataclass(frozen=True)
class Truth:
    """What is true of the campaign.  Times in milliseconds, CPU in seconds per megabyte."""

    slope_ms: float = 8.75  # baseline, per process: the 1 Gbit/s link of the paper's time
    slope_difference_ms: float = 0.0  # other minus baseline, per process
    intercept_ms: float = 12.0
    offset_ms: float = 0.0  # other minus baseline, at any n
    noise_ms: float = 1.0  # standard deviation of one trial that does not grow ...
    noise_fraction: float = 0.03  # ... and that grows with the time itself
    block_sd_ms: float = 2.0  # shift of a whole block, the same for both arms
    block_slope_sd_ms: float = 0.02  # a block's own slope difference, around the true one
    drift_ms: float = 0.0  # standard deviation of a slow drift over the order of execution ...
    drift_trials: float = 100.0  # ... which forgets itself after about so many trials
    failure_rate: float = 0.0  # of trials; the pair is run again at the end
    cpu_s_per_mb: tuple[dict[str, float], dict[str, float]] = (
        {"clients": 0.0060, "server": 0.0040},
        {"clients": 0.0022, "daemon": 0.0046, "boundary": 0.0006, "server": 0.0040},
    )


@dataclass(frozen=True)
class Design:
    """What was run, and in which order: ``published`` is, in each block, all SSA, then all OpenSSL, n ascending."""

    levels: tuple[int, ...] = tuple(range(10, 101, 10))
    blocks: int = 10
    stacks: tuple[Stack, Stack] = (Stack.OPENSSL, Stack.SSA)
    link: Link = Link.LOOPBACK
    order: Literal["randomised", "published"] = "randomised"
    size_bytes: int = 1_000_000
    inject_ms_per_process: float = 0.0  # into the other arm, beside what is true of it


@dataclass(frozen=True)
class Synthetic:
    """A whole campaign: what the files of its directory will hold."""

    manifest: Manifest
    plan: dict[str, Any]
    environment: dict[str, Any]
    trials: tuple[Trial, ...]
    samples: tuple[Sample, ...]


def _ordered(design: Design, rng: np.random.Generator) -> pd.DataFrame:
    """One row a trial in the order of execution: block, pair, n, arm, position."""
    levels = np.array(design.levels)
    size = len(levels)
    if design.order == "published":
        blocks, arms, pairs = np.meshgrid(np.arange(design.blocks), [1, 0], np.arange(size), indexing="ij")
        rows = {
            "block": blocks.ravel(),
            "pair": pairs.ravel(),
            "arm": arms.ravel(),
            "position": 1 - arms.ravel(),
        }
    else:
        pairs = np.concatenate([rng.permutation(size) for _ in range(design.blocks)])
        coins = np.concatenate([rng.permutation(np.arange(size) % 2) for _ in range(design.blocks)])
        rows = {
            "block": np.repeat(np.arange(design.blocks), 2 * size),
            "pair": np.repeat(pairs, 2),
            "arm": np.column_stack([coins, 1 - coins]).ravel(),
            "position": np.tile([0, 1], design.blocks * size),
        }
    return pd.DataFrame(rows).assign(n=lambda table: levels[table["pair"]])


def simulate(design: Design, truth: Truth, seed: int) -> pd.DataFrame:
    """One row a trial: block_id, pair, n, arm, impl, position, sequence, ms (0.1 or more), fails."""
    rng = np.random.default_rng(seed)
    rows = _ordered(design, rng)
    count, n, arm = len(rows), rows["n"].to_numpy(), rows["arm"].to_numpy()
    blocks = rows["block"].to_numpy()
    shift = rng.normal(0, truth.block_sd_ms, design.blocks)[blocks]
    own = rng.normal(0, truth.block_slope_sd_ms, design.blocks)[blocks]
    drift = _drift(truth, count, rng)
    slope = truth.slope_ms + arm * (truth.slope_difference_ms + design.inject_ms_per_process + own)
    mean = truth.intercept_ms + arm * truth.offset_ms + slope * n + shift + drift
    noise = rng.normal(0, 1, count) * (truth.noise_ms + truth.noise_fraction * mean)
    names = pd.Index(arm_names(_manifest(design, seed, "")))
    return rows.assign(
        sequence=np.arange(count),
        block_id=[f"0.{block:03d}" for block in blocks],
        impl=pd.Categorical.from_codes(arm, categories=names),
        ms=np.maximum(mean + noise, 0.1),
        fails=rng.random(count) < truth.failure_rate,
    )


def _drift(truth: Truth, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A stationary first-order autoregression."""
    kept = float(np.exp(-1 / truth.drift_trials))
    shocks = rng.normal(0, truth.drift_ms * np.sqrt(1 - kept**2), count)
    values, value = np.empty(count), float(rng.normal(0, truth.drift_ms))
    for k, shock in enumerate(shocks):
        value = kept * value + shock
        values[k] = value
    return values


def _manifest(design: Design, seed: int, plan_sha256: str) -> Manifest:
    return Manifest(
        campaign=f"synthetic-{design.link}-{seed}",
        preset=SYNTHETIC_PRESET,
        profile=Profile.SOUND,
        link=design.link,
        server=SYNTHETIC_PRESET,
        size_bytes=design.size_bytes,
        levels=design.levels,
        blocks=design.blocks,
        stacks=design.stacks,
        seed=seed,
        plan_sha256=plan_sha256,
        judgement=Judgement.model_validate({}),
        inject_ms_per_process=design.inject_ms_per_process,
    )


def campaign(design: Design, truth: Truth, seed: int) -> Synthetic:
    """A whole campaign, failed trials and their second attempts included."""
    plan = {"synthetic": True, "design": asdict(design), "truth": asdict(truth), "seed": seed}
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    manifest = _manifest(design, seed, digest)
    rng = np.random.default_rng([seed, 1])
    rows = _with_retries(simulate(design, truth, seed))
    trials, samples = [], []
    for row in rows.itertuples():
        trial = _trial(row, manifest, truth, rng)
        trials.append(trial)
        samples.extend(_samples(trial, rng))
    return Synthetic(manifest, plan, _environment(design), tuple(trials), tuple(samples))


def _with_retries(rows: pd.DataFrame) -> pd.DataFrame:
    """Append a second, successful attempt of every pair in which a trial fails."""
    failed = rows.groupby(["block", "pair"])["fails"].transform("any")
    again = rows[failed].sort_values(["block", "pair", "position"]).assign(fails=False, attempt=2)
    both = pd.concat([rows.assign(attempt=1), again], ignore_index=True)
    return both.assign(sequence=np.arange(len(both)))


def _trial(row: Any, manifest: Manifest, truth: Truth, rng: np.random.Generator) -> Trial:
    stack = manifest.stacks[row.arm]
    elapsed_ns = round(row.ms * 1e6)
    megabytes = row.n * manifest.size_bytes / 1e6
    cpu = {
        f"cpu_{party}": _cpu(seconds * megabytes * rng.normal(1, 0.04), rng)
        for party, seconds in truth.cpu_s_per_mb[row.arm].items()
    }
    return Trial(
        schema_version=SCHEMA_VERSION,
        campaign=manifest.campaign,
        trial_id=f"b{row.block:02d}-p{row.pair:03d}-a{row.arm}-{stack}-n{row.n:03d}",
        attempt=row.attempt,
        sequence=row.sequence,
        block=row.block,
        pair=row.pair,
        position=row.position,
        arm=row.arm,
        stack=stack,
        n=row.n,
        profile=manifest.profile,
        link=manifest.link,
        server=manifest.server,
        boundary=Boundary.SECCOMP if stack is Stack.SSA else None,
        size_bytes=manifest.size_bytes,
        read_size_bytes=65536,
        outcome=Outcome.FAILED if row.fails else Outcome.OK,
        reason="process 0: the connection was reset (synthetic)" if row.fails else "",
        seed=manifest.seed,
        started_at=(datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=row.sequence)).isoformat(),
        release_ns=(row.sequence + 1) * 10**9,
        elapsed_ns=None if row.fails else elapsed_ns,
        release_spread_ns=round(rng.uniform(2e5, 2e6)),
        setup_ns=round(3e8 + row.n * 5e6),
        teardown_ns=round(5e7 + row.n * 1e6),
        link_tx_bytes=round(row.n * manifest.size_bytes * 1.03),
        link_rx_bytes=round(row.n * 6000),
        tcp_retransmits=int(rng.poisson(row.n / 20)),
        load_1min=float(rng.uniform(0.5, 2)),
        **cpu,
    )


def _cpu(seconds: float, rng: np.random.Generator) -> Cpu:
    total_ns = max(round(seconds * 1e9), 1)
    user_ns = round(total_ns * rng.uniform(0.55, 0.65))
    return Cpu(user_ns=user_ns, system_ns=total_ns - user_ns, total_ns=total_ns, peak_rss_bytes=30_000_000)


def _samples(trial: Trial, rng: np.random.Generator) -> list[Sample]:
    """The last process is the slowest, and ends when the trial does."""
    elapsed_ns = trial.elapsed_ns or trial.n * 10**7
    fractions = np.sort(rng.uniform(0.6, 1, trial.n))
    fractions[-1] = 1
    ends = np.round(elapsed_ns * fractions).astype(int)
    return [_sample(trial, process, int(end), rng) for process, end in enumerate(ends)]


def _sample(trial: Trial, process: int, end_ns: int, rng: np.random.Generator) -> Sample:
    is_lost = trial.outcome is not Outcome.OK and process == 0
    tcp, tls, first = (round(end_ns * share) for share in np.sort(rng.uniform(0.05, 0.6, 3)))
    return Sample(
        schema_version=SCHEMA_VERSION,
        trial_id=trial.trial_id,
        attempt=trial.attempt,
        sequence=trial.sequence,
        process=process,
        pid=1000 + process,
        outcome=Outcome.FAILED if is_lost else Outcome.OK,
        error="the connection was reset (synthetic)" if is_lost else "",
        errno=104 if is_lost else None,
        released_offset_ns=round(rng.uniform(1e4, 1e6)),
        tcp_offset_ns=tcp if trial.stack is Stack.OPENSSL else None,
        tls_offset_ns=tls,
        first_byte_offset_ns=first,
        last_byte_offset_ns=None if is_lost else end_ns,
        body_bytes=trial.size_bytes,
        body_sha256="0" * 64,
        cpu_user_ns=3_000_000,
        cpu_system_ns=2_000_000,
        peak_rss_bytes=30_000_000,
        tls_version="TLSv1.3",
        tls_cipher="TLS_AES_256_GCM_SHA384",
        tls_group="x25519",
        tls_alpn="",
        tls_resumed=False,
        peer_certificate_sha256="0" * 64,
        openssl=OPENSSL,
    )


def _environment(design: Design) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "fingerprint": {"machine": "synthetic", "openssl": OPENSSL},
        "link": {"kind": str(design.link), "why": "synthetic", "rate_mbit_s": None, "rtt_us": None},
        "server": {"name": SYNTHETIC_PRESET},
        "versions": {"openssl": OPENSSL},
        "machine": {"name": "synthetic"},
        "warnings": [WARNING],
    }


def write(directory: Path, synthetic: Synthetic) -> None:
    """Write the campaign's four files into ``directory``, which is made if need be; no Parquet."""
    directory.mkdir(parents=True, exist_ok=True)
    plan = {"plan": synthetic.plan, "manifest": synthetic.manifest.model_dump(mode="json")}
    for name, content in (("plan", plan), ("environment", synthetic.environment)):
        (directory / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    for name, records in (("trials", synthetic.trials), ("samples", synthetic.samples)):
        lines = "".join(f"{record.model_dump_json()}\n" for record in records)
        (directory / f"{name}.jsonl").write_text(lines)
