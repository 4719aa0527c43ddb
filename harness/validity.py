"""What makes a sample and a trial valid (EXPERIMENT.md section 4).  Pure.

Both stacks must have negotiated the same: before a campaign each downloads once, and what they agree on
(:class:`Terms`) is what every sample of every trial is held against.  So the two sides of a pair are equal to
each other, and to all other pairs.  Two things are not held against a stack: what it cannot tell
(:data:`UNTOLD`), and another build of OpenSSL where that is what it is (the C client and the proxies have the
system's); the analysis says so beside every number.  Plain HTTP negotiates nothing, and is never judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields

from harness.links import EmulatorCounters
from harness.links.interface import LATE_BOUNDS_NS
from harness.records import Outcome, Sample, Stack

LATE_NS = 10_000_000
LATE_SHARE = 0.01
"""An emulated wan was late in a trial when more than this part of its packets came more than LATE_NS late: a
quarter of the default round trip, and of what the margin of 0.4 ms per process is for 100 of them."""


@dataclass(frozen=True)
class Terms:
    """What one connection negotiated, and with which build."""

    tls_version: str | None
    tls_cipher: str | None
    tls_group: str | None
    tls_alpn: str | None
    tls_resumed: bool | None
    peer_certificate_sha256: str | None
    openssl: str | None

    @classmethod
    def of(cls, sample: Sample) -> Terms:
        """The terms in a sample."""
        return cls(**{field.name: getattr(sample, field.name) for field in fields(cls)})


UNTOLD: Mapping[Stack, frozenset[str]] = {
    Stack.PLAIN: frozenset(field.name for field in fields(Terms)),
    Stack.STUNNEL: frozenset({"peer_certificate_sha256"}),
}
"""What a stack cannot tell: stunnel verifies the certificate, and does not say which one it was."""


def incomparable(one: Stack, other: Stack) -> frozenset[str]:
    """The terms that two stacks need not have in common."""
    library = {"openssl"} if one.has_own_openssl or other.has_own_openssl else set()
    return UNTOLD.get(one, frozenset()) | UNTOLD.get(other, frozenset()) | library


_WORDS = {
    "tls_version": "TLS version",
    "tls_cipher": "cipher suite",
    "tls_group": "key exchange group",
    "tls_alpn": "ALPN protocol",
    "tls_resumed": "resumption",
    "peer_certificate_sha256": "server certificate",
    "openssl": "OpenSSL build",
}


def disagreement(one: Terms, other: Terms, but: Collection[str] = ()) -> str:
    """What differs, e.g.

    ``cipher suite (A, B)``; empty when nothing does.  What could not be measured differs too, ``but`` for terms
    that nobody asks about.
    """
    return ", ".join(
        f"{_WORDS[field.name]} ({_say(left)}, {_say(right)})"
        for field in fields(Terms)
        if field.name not in but
        and ((left := getattr(one, field.name)) != (right := getattr(other, field.name)) or left is None)
    )


def _say(value: object) -> str:
    return "unknown" if value is None else "none" if value == "" else str(value)


def body_error(sample_bytes: int | None, sample_sha256: str | None, size_bytes: int, sha256: str) -> str:
    """One sentence when a body is not the file; empty when it is."""
    if sample_bytes != size_bytes:
        return f"The body has {sample_bytes} bytes instead of {size_bytes}."
    if sample_sha256 != sha256:
        return f"The body is not the file: its SHA-256 is {sample_sha256} instead of {sha256}."
    return ""


def emulator_fault(emulator: EmulatorCounters | None) -> str:
    """One sentence when an emulated wan was not one; empty when it was."""
    if emulator is None:
        return "What the emulator of the link did is not known."
    if emulator.dropped:
        return f"The emulator of the link was full: it dropped {emulator.dropped} packets."
    late = emulator.late[LATE_BOUNDS_NS.index(LATE_NS)] if emulator.late is not None else 0
    if late > LATE_SHARE * emulator.delivered:
        return (
            f"The emulator of the link was late: {late} of {emulator.delivered} packets came more than"
            f" {LATE_NS / 1e6:g} ms late, as it waited {(emulator.waited_ns or 0) / 1e6:.0f} ms for a CPU."
        )
    return ""


def judge(samples: Sequence[Sample], n: int, agreed: Terms, stack: Stack) -> tuple[Outcome, str]:
    """The outcome of a trial whose processes have all been collected, and one sentence when it is not ok."""
    if len(samples) != n:
        return Outcome.FAILED, f"{n - len(samples)} of {n} processes are missing."
    for outcome in (Outcome.FAILED, Outcome.TIMEOUT):
        errors = [sample.error for sample in samples if sample.outcome is outcome]
        if errors:
            return outcome, f"{len(errors)} of {n} processes: {Counter(errors).most_common(1)[0][0]}"
    for sample in samples:
        differs = disagreement(agreed, Terms.of(sample), UNTOLD.get(stack, frozenset()))
        if differs:
            return Outcome.INVALID, f"Process {sample.process} did not negotiate what was agreed: {differs}."
    return Outcome.OK, ""
