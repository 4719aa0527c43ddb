"""What the daemon counts: one :class:`Counts` in each worker, one :class:`Totals` in the parent.  Pure.

Counting is an addition to a number or to a table's entry; labels become words only when somebody asks.  All labels come
from closed lists or from the policy, so a peer cannot make the tables grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum

from ..errors import (
    ApplicationError,
    CertificateError,
    DaemonError,
    HandshakeTimeoutError,
    LimitError,
    NetworkError,
    PeerError,
    PolicyError,
    SsaError,
    TruncationError,
)

Labels = tuple[str, ...]
Samples = dict[Labels, list[float]]
"""one number for each combination of labels; for a histogram its buckets' own counts, the last one unbounded, and the
sum of what was observed"""
Snapshot = dict[str, Samples]
"""samples by family"""

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""upper bounds of the latency histogram"""


class Kind(Enum):
    """Types of OpenMetrics."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True)
class Family:
    """One metric, in OpenMetrics' terms; a unit is the last word of the name."""

    name: str
    kind: Kind
    labels: Labels
    help: str
    unit: str = ""


FAMILIES = (
    Family("ssa_build", Kind.INFO, ("version", "openssl"), "The daemon's version and OpenSSL's."),
    Family("ssa_start_time_seconds", Kind.GAUGE, (), "Unix time at which the daemon was started.", "seconds"),
    Family("ssa_workers", Kind.GAUGE, (), "Workers that serve."),
    Family("ssa_worker_restarts", Kind.COUNTER, (), "Workers that ended unasked and were replaced."),
    Family("ssa_policy_reloads", Kind.COUNTER, ("result",), "Reloads of the policy: ok or refused."),
    Family("ssa_sockets", Kind.GAUGE, ("profile",), "Secure sockets open now, connected or not."),
    Family("ssa_connections", Kind.COUNTER, ("profile", "role"), "Connections whose peer was authenticated."),
    Family(
        "ssa_handshakes",
        Kind.COUNTER,
        ("profile", "role", "version", "result"),
        "Handshakes by TLS version, none where there was no agreement, and result: full, resumed or failed.",
    ),
    Family(
        "ssa_connection_failures",
        Kind.COUNTER,
        ("profile", "role", "reason"),
        "Connections that were not established, or refused, by whose fault.",
    ),
    Family(
        "ssa_connections_broken",
        Kind.COUNTER,
        ("profile", "role", "reason"),
        "Established connections that did not end in order.",
    ),
    Family(
        "ssa_handshake_seconds",
        Kind.HISTOGRAM,
        ("profile", "role"),
        "From the TCP connection to the authenticated peer; handshakes that succeeded.",
        "seconds",
    ),
    Family(
        "ssa_staples",
        Kind.COUNTER,
        ("profile", "result"),
        "Handshakes of servers that staple whose client asked for the OCSP answer: sent or missing.",
    ),
    Family(
        "ssa_staple_requests",
        Kind.COUNTER,
        ("profile", "result"),
        "Responders asked for what servers staple: good, revoked or failed.",
    ),
    Family("ssa_received_bytes", Kind.COUNTER, ("profile",), "Plain text from peers to applications.", "bytes"),
    Family("ssa_sent_bytes", Kind.COUNTER, ("profile",), "Plain text from applications to peers.", "bytes"),
)
KINDS = {family.name: family.kind for family in FAMILIES}

_VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}
_REASONS: tuple[tuple[type[SsaError], str], ...] = (
    (CertificateError, "certificate"),
    (HandshakeTimeoutError, "timeout"),
    (TruncationError, "truncated"),
    (PeerError, "protocol"),
    (NetworkError, "network"),
    (PolicyError, "policy"),
    (ApplicationError, "application"),
    (LimitError, "limit"),
    (DaemonError, "daemon"),
)


def version_name(number: int) -> str:
    """Return the word for a TLS version's wire number, ``none`` for one that is not spoken here."""
    return _VERSIONS.get(number, "none")


def reason_of(error: SsaError) -> str:
    """Return the class of a failure, a word of a closed list."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), "daemon")


class Traffic:
    """What one secure socket has carried, counted by its relay while it does."""

    __slots__ = ("profile", "received_bytes", "sent_bytes")

    def __init__(self, profile: str = "default") -> None:
        self.profile = profile
        self.received_bytes = 0
        """plain text from the peer to the application"""
        self.sent_bytes = 0
        """plain text from the application to the peer"""


class Counts:
    """What one worker has counted since it was started."""

    def __init__(self) -> None:
        self._open: set[Traffic] = set()
        self._carried: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self._connections: Counter[Labels] = Counter()
        self._handshakes: Counter[Labels] = Counter()
        self._failures: Counter[Labels] = Counter()
        self._broken: Counter[Labels] = Counter()
        self._staples: Counter[Labels] = Counter()
        self._staple_requests: Counter[Labels] = Counter()
        self._latency: defaultdict[Labels, list[float]] = defaultdict(lambda: [0.0] * (len(BUCKETS_S) + 2))

    def opened(self, traffic: Traffic) -> None:
        """Count a secure socket as open."""
        self._open.add(traffic)

    def closed(self, traffic: Traffic) -> None:
        """Keep what it has carried."""
        self._open.discard(traffic)
        carried = self._carried[traffic.profile]
        carried[0] += traffic.received_bytes
        carried[1] += traffic.sent_bytes

    def authenticated(self, profile: str, role: str, version: int, resumed: bool, seconds: float) -> None:
        """Count a handshake that succeeded; ``version`` is the wire number."""
        self._connections[profile, role] += 1
        self._handshakes[profile, role, version_name(version), "resumed" if resumed else "full"] += 1
        latency = self._latency[profile, role]
        latency[bisect_left(BUCKETS_S, seconds)] += 1
        latency[-1] += seconds

    def refused(self, profile: str, role: str, error: SsaError) -> None:
        """Count a connection that was not established; what the peer is to blame for was a handshake."""
        self._failures[profile, role, reason_of(error)] += 1
        if isinstance(error, PeerError):
            self._handshakes[profile, role, "none", "failed"] += 1

    def broken(self, profile: str, role: str, error: SsaError) -> None:
        """Count an established connection that did not end in order."""
        self._broken[profile, role, reason_of(error)] += 1

    def stapled(self, profile: str, *, sent: bool) -> None:
        """Count a handshake whose client asked for the stapled answer."""
        self._staples[profile, "sent" if sent else "missing"] += 1

    def staple_requested(self, profile: str, result: str) -> None:
        """Count a request for an answer to staple; ``result`` is a word of a closed list."""
        self._staple_requests[profile, result] += 1

    def snapshot(self) -> Snapshot:
        """Return everything as of now."""
        carried = {profile: list(both) for profile, both in self._carried.items()}
        sockets: Counter[str] = Counter()
        for traffic in self._open:
            sockets[traffic.profile] += 1
            both = carried.setdefault(traffic.profile, [0, 0])
            both[0] += traffic.received_bytes
            both[1] += traffic.sent_bytes
        return {
            "ssa_sockets": {(profile,): [float(count)] for profile, count in sockets.items()},
            "ssa_connections": _numbers(self._connections),
            "ssa_handshakes": _numbers(self._handshakes),
            "ssa_connection_failures": _numbers(self._failures),
            "ssa_connections_broken": _numbers(self._broken),
            "ssa_staples": _numbers(self._staples),
            "ssa_staple_requests": _numbers(self._staple_requests),
            "ssa_handshake_seconds": {labels: list(values) for labels, values in self._latency.items()},
            "ssa_received_bytes": {(profile,): [float(both[0])] for profile, both in carried.items()},
            "ssa_sent_bytes": {(profile,): [float(both[1])] for profile, both in carried.items()},
        }


class Totals:
    """What the parent counts, and what its workers have told it.

    A worker's successor begins at zero; so that no counter ever falls, what the worker told last is kept.  What it
    counted after that is lost with it.
    """

    def __init__(self, version: str, openssl: str, started_at_s: float) -> None:
        self._own: Snapshot = {
            "ssa_build": {(version, openssl): [1.0]},
            "ssa_start_time_seconds": {(): [started_at_s]},
            "ssa_worker_restarts": {(): [0.0]},
            "ssa_policy_reloads": {("ok",): [0.0], ("refused",): [0.0]},
        }
        self._told: dict[int, Snapshot] = {}
        self._ended: Snapshot = {}

    def worker_ended(self, index: int, *, unasked: bool = True) -> None:
        """Keep what a worker has counted that has ended, and count it if it did so unasked."""
        self._own["ssa_worker_restarts"][()][0] += unasked
        if last := self._told.pop(index, None):
            kept = {name: samples for name, samples in last.items() if KINDS[name] is not Kind.GAUGE}
            self._ended = merged([self._ended, kept])

    def reloads(self, accepted: int, refused: int) -> None:
        """Take how often the policy was loaded again, and how often that was refused."""
        self._own["ssa_policy_reloads"] = {("ok",): [float(accepted)], ("refused",): [float(refused)]}

    def told(self, index: int, snapshot: Snapshot) -> None:
        """Take what a worker has counted since its start."""
        self._told[index] = snapshot

    def snapshot(self, workers: int) -> Snapshot:
        """Return everything; ``workers`` is how many serve now."""
        return merged([{"ssa_workers": {(): [float(workers)]}}, self._own, self._ended, *self._told.values()])


def merged(snapshots: list[Snapshot]) -> Snapshot:
    """Add up, family by family and label by label."""
    total: Snapshot = {}
    for snapshot in snapshots:
        for name, samples in snapshot.items():
            into = total.setdefault(name, {})
            for labels, values in samples.items():
                earlier = into.get(labels)
                into[labels] = [a + b for a, b in zip(earlier, values, strict=True)] if earlier else list(values)
    return total


def to_json_value(snapshot: Snapshot) -> dict[str, list[tuple[Labels, list[float]]]]:
    """Return a snapshot as JSON can have it."""
    return {name: list(samples.items()) for name, samples in snapshot.items()}


def from_json_value(value: dict[str, list[tuple[list[str], list[float]]]]) -> Snapshot:
    """Return the snapshot that a worker has sent."""
    return {name: {tuple(labels): values for labels, values in samples} for name, samples in value.items()}


def _numbers(counter: Counter[Labels]) -> Samples:
    return {labels: [float(count)] for labels, count in counter.items()}
