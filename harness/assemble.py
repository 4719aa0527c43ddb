"""What is written down of one trial: from what was observed to its records.  Pure."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from harness.links import Counters
from harness.links.interface import LATE_BOUNDS_NS
from harness.order import PlannedTrial
from harness.plan import Plan
from harness.records import Cpu, LinkSample, Outcome, Profile, Sample, Trial
from harness.records import Link as LinkKind
from harness.routes import Route
from harness.validity import Terms, body_error, emulator_fault, judge

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Setting:
    """What is the same for all trials of one part of a campaign."""

    plan: Plan
    campaign: str
    link: LinkKind
    server: str
    sha256: str  # of the body
    agreed: Mapping[Route, Terms]
    profile: Profile = Profile.SOUND


@dataclass
class Observed:
    """What was measured, as far as the trial came.  Times are CLOCK_MONOTONIC."""

    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds"))
    started_ns: int = field(default_factory=time.monotonic_ns)
    ended_ns: int = 0
    release_ns: int | None = None
    reports: Sequence[Report] = ()
    lost: str = ""  # which party, when one was lost
    daemon: Cpu | None = None
    boundary: Cpu | None = None
    server: Cpu | None = None
    emulator: Cpu | None = None
    link_changed: str = ""  # in which way the link is no longer what it was opened as
    link: Counters = field(default_factory=lambda: Counters(None, None, None))
    load_1min: float | None = None


@dataclass(frozen=True)
class Identity:
    """Which trial it is, and where in the real order."""

    planned: PlannedTrial
    attempt: int
    sequence: int


def assemble(
    identity: Identity, setting: Setting, observed: Observed, daemon_openssl: str | None
) -> tuple[Trial, list[Sample]]:
    """What is written down of one trial."""
    planned = identity.planned
    openssl = daemon_openssl if planned.stack.is_ssa else None
    samples = [
        _sample(identity, setting, report, openssl) for report in observed.reports or _missing(planned.n, observed.lost)
    ]
    outcome, reason = judge(samples, planned.n, setting.agreed[planned.route], planned.stack)
    if outcome is Outcome.OK and setting.link is LinkKind.WAN and (fault := emulator_fault(observed.link.emulator)):
        outcome, reason = Outcome.INVALID, fault
    if outcome is Outcome.OK and observed.link_changed:
        outcome, reason = Outcome.INVALID, observed.link_changed
    if observed.lost:
        outcome, reason = Outcome.ABORTED, observed.lost.splitlines()[0]
    return _trial(identity, setting, observed, samples, (outcome, reason)), samples


def link_sample(identity: Identity, observed: Observed, rtt_idle_us: float | None) -> LinkSample:
    """What is written down of the link in one trial."""
    counted = observed.link.emulator
    late = zip(_LATE, counted.late, strict=True) if counted is not None and counted.late is not None else ()
    return LinkSample.model_validate(
        {
            "trial_id": identity.planned.trial_id,
            "attempt": identity.attempt,
            "sequence": identity.sequence,
            "rtt_idle_us": rtt_idle_us,
            "emulator": counted.name if counted is not None else None,
            "cpu_emulator": observed.emulator,
            "emulator_waited_ns": counted.waited_ns if counted is not None else None,
            "delivered": counted.delivered if counted is not None else None,
            "dropped": counted.dropped if counted is not None else None,
            **dict(late),
        }
    )


_LATE = tuple(
    f"late_{bound_ns // 1000}us" if bound_ns < 1_000_000 else f"late_{bound_ns // 1_000_000}ms"
    for bound_ns in LATE_BOUNDS_NS
)


def _missing(n: int, lost: str) -> list[Report]:
    error = lost.splitlines()[0] if lost else "Nothing was heard of this process."
    return [{"process": process, "aborted": True, "ok": False, "error": error} for process in range(n)]


_COPIED = (
    "released_offset_ns",
    "tcp_offset_ns",
    "tls_offset_ns",
    "first_byte_offset_ns",
    "last_byte_offset_ns",
    "body_bytes",
    "body_sha256",
    "cpu_user_ns",
    "cpu_system_ns",
    "peak_rss_bytes",
    "tls_version",
    "tls_cipher",
    "tls_group",
    "tls_alpn",
    "tls_resumed",
    "peer_certificate_sha256",
)


def _sample(identity: Identity, setting: Setting, report: Report, openssl: str | None) -> Sample:
    outcome, error = _sample_outcome(setting, report)
    fields = {name: report.get(name) for name in ("process", "pid", "errno", *_COPIED)}
    return Sample.model_validate(
        {
            "trial_id": identity.planned.trial_id,
            "attempt": identity.attempt,
            "sequence": identity.sequence,
            "outcome": outcome,
            "error": error,
            "openssl": report.get("openssl") or openssl,
            **fields,
        }
    )


def _sample_outcome(setting: Setting, report: Report) -> tuple[Outcome, str]:
    if report.get("aborted"):
        return Outcome.ABORTED, str(report["error"])
    if not report["ok"]:
        return Outcome.TIMEOUT if report.get("late") else Outcome.FAILED, str(report["error"])
    error = body_error(report["body_bytes"], report["body_sha256"], setting.plan.size_bytes, setting.sha256)
    return Outcome.FAILED if error else Outcome.OK, error


def _trial(
    identity: Identity,
    setting: Setting,
    observed: Observed,
    samples: Sequence[Sample],
    verdict: tuple[Outcome, str],
) -> Trial:
    planned, plan = identity.planned, setting.plan
    elapsed_ns = _elapsed_ns(samples)
    return Trial(
        campaign=setting.campaign,
        trial_id=planned.trial_id,
        attempt=identity.attempt,
        sequence=identity.sequence,
        block=planned.block,
        pair=planned.pair,
        position=planned.position,
        arm=planned.arm,
        stack=planned.stack,
        n=planned.n,
        profile=setting.profile,
        link=setting.link,
        server=setting.server,
        boundary=planned.boundary,
        size_bytes=plan.size_bytes,
        read_size_bytes=plan.read_size(setting.profile),
        outcome=verdict[0],
        reason=verdict[1],
        seed=plan.seed,
        started_at=observed.started_at,
        release_ns=observed.release_ns,
        elapsed_ns=elapsed_ns,
        release_spread_ns=_spread_ns(samples),
        setup_ns=(observed.release_ns or observed.ended_ns) - observed.started_ns,
        teardown_ns=_teardown_ns(observed, elapsed_ns),
        cpu_clients=_clients_cpu(samples),
        cpu_daemon=observed.daemon,
        cpu_boundary=observed.boundary,
        cpu_server=observed.server,
        link_tx_bytes=observed.link.tx_bytes,
        link_rx_bytes=observed.link.rx_bytes,
        tcp_retransmits=observed.link.retransmitted_segments,
        load_1min=observed.load_1min,
    )


def _elapsed_ns(samples: Sequence[Sample]) -> int | None:
    """To the slowest process's last byte; None unless everybody had one."""
    last = [sample.last_byte_offset_ns for sample in samples]
    return max((value for value in last if value is not None), default=None) if None not in last else None


def _spread_ns(samples: Sequence[Sample]) -> int | None:
    seen = [sample.released_offset_ns for sample in samples if sample.released_offset_ns is not None]
    return max(seen) - min(seen) if len(seen) == len(samples) else None


def _teardown_ns(observed: Observed, elapsed_ns: int | None) -> int:
    if observed.release_ns is None:
        return 0
    return max(0, observed.ended_ns - observed.release_ns - (elapsed_ns or 0))


def _clients_cpu(samples: Sequence[Sample]) -> Cpu | None:
    """The sum over all clients; None unless each of them said."""
    user, system, peak = (
        math.fsum(math.nan if value is None else value for value in values)
        for values in (
            [sample.cpu_user_ns for sample in samples],
            [sample.cpu_system_ns for sample in samples],
            [sample.peak_rss_bytes for sample in samples],
        )
    )
    if math.isnan(user + system + peak):
        return None
    return Cpu(user_ns=int(user), system_ns=int(system), total_ns=int(user + system), peak_rss_bytes=int(peak))
