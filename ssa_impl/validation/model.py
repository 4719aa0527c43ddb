"""What the administrator chose to believe, what is judged, and what came of it.  Pure, frozen, hashable."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ..abi import Opt

TRUST_STORE = "trust-store-and-hostname"
"""the strategy that repeats OpenSSL's own verdict"""
REVOCATION = "revocation"
"""the strategy that an application's revocation options add"""

REVOCATION_SOURCES: Mapping[Opt, str] = {
    Opt.TLS_CACHED_REV_CHECKS: "cached",
    Opt.TLS_OCSP_STAPLED_CHECKS: "stapled",
    Opt.TLS_OCSP_CHECKS: "ocsp",
    Opt.TLS_CRL_CHECKS: "crl",
}
"""options that name a source of revocation answers, in the order in which they are asked"""

DEFAULT_TIMEOUT_S = 5.0


class Vote(Enum):
    """What one strategy says of a peer."""

    ACCEPT = "accept"
    REJECT = "reject"
    ABSTAIN = "abstain"
    """the strategy has nothing to say of this peer"""
    ERROR = "error"
    """the strategy failed, by an exception too"""
    TIMEOUT = "timeout"
    """the strategy did not answer in its time"""


class Count(Enum):
    """What a vote is counted as."""

    ACCEPT = "accept"
    REJECT = "reject"
    ABSTAIN = "abstain"
    """a voting strategy's vote is not counted; a necessary strategy has not accepted, so the peer is refused"""


Frozen = str | int | float | bool | tuple["Frozen", ...]
"""a parameter's value; a TOML table is a tuple of (key, value) pairs sorted by key"""


@dataclass(frozen=True)
class Choice:
    """One strategy as the administrator configured it."""

    name: str
    """how the policy, the log and the verdict call it"""
    strategy: str
    """name of the plug-in (entry-point group ``ssa.validation``)"""
    parameters: tuple[tuple[str, Frozen], ...] = ()
    """all that the plug-in takes, defaults filled in, sorted by name"""
    timeout_s: float = DEFAULT_TIMEOUT_S
    abstain: Count = Count.ABSTAIN
    error: Count = Count.REJECT
    timeout: Count = Count.REJECT


@dataclass(frozen=True)
class Validation:
    """Which strategies must accept a peer, and which vote."""

    necessary: tuple[Choice, ...] = ()
    """each of them must accept"""
    voting: tuple[Choice, ...] = ()
    """of their votes that count, ``threshold_percent`` must accept; when none counts, the peer is refused"""
    threshold_percent: int = 100
    for_applications: Choice | None = None
    """revocation as an application's options switch it on, and as stapling asks; None: with the plug-in's defaults"""

    @property
    def openssl_decides(self) -> bool:
        """Whether the handshake may end at OpenSSL's own verdict, because that is necessary anyway."""
        return any(choice.strategy == TRUST_STORE for choice in self.necessary)

    def choices(self) -> tuple[Choice, ...]:
        """Return all strategies that are asked, the necessary ones first."""
        return self.necessary + self.voting


OPENSSL_ALONE = Validation(necessary=(Choice(TRUST_STORE, TRUST_STORE),))
"""what holds where the policy says nothing about validation"""


def revocation_table(validation: Validation | None) -> Choice:
    """Return how responders are asked where an application or stapling wants it: the policy's table, or defaults."""
    return (validation and validation.for_applications) or Choice(REVOCATION, REVOCATION)


def tighten(validation: Validation | None, switched_on: Iterable[Opt], allowed: Iterable[Opt]) -> Validation | None:
    """Return ``validation`` with the revocation checks that an application switched on; pure tightening.

    :param switched_on: revocation options that the application set to 1
    :param allowed: the profile's ``revocation_sources``: what TLS_REVOCATION_CHECKS stands for when no source was named
    """
    wanted = set(switched_on) & {Opt.TLS_REVOCATION_CHECKS, *REVOCATION_SOURCES}
    if not wanted:
        return validation
    named = wanted & set(REVOCATION_SOURCES) or set(allowed)
    before, base = validation or OPENSSL_ALONE, revocation_table(validation)
    parameters: dict[str, Frozen] = dict(base.parameters) | {"soft_fail": False}
    if sources := tuple(source for option, source in REVOCATION_SOURCES.items() if option in named):
        parameters["sources"] = sources  # else the table's own, or all
    asked = replace(base, name=f"{base.name} (application)", parameters=tuple(sorted(parameters.items())))
    asked = replace(asked, abstain=Count.ABSTAIN, error=Count.REJECT, timeout=Count.REJECT)
    return replace(before, necessary=(*before.necessary, asked))


@dataclass(frozen=True)
class Case:
    """One peer, after its handshake and before anybody is told of success."""

    presented: tuple[bytes, ...]
    """the chain as the peer sent it, DER, leaf first; empty when it sent none"""
    now: datetime.datetime
    """aware, UTC"""
    verified: tuple[bytes, ...] = ()
    """the chain that OpenSSL built, DER, leaf first, trust anchor last; empty when it could not"""
    hostname: str = ""
    """name or address that the peer must prove; empty where this side is the acceptor or no name was asked for"""
    accepting: bool = False
    """whether this side is the acceptor, and the peer a client"""
    stapled: bytes | None = None
    """OCSP response that came with the handshake (RFC 6066 section 8), DER"""
    openssl_code: int = 0
    """first X509_V_ERR_* number that OpenSSL objected with, 0 for none"""
    openssl_text: str = ""
    """the same in words"""
    anchors_pem: bytes = b""
    """trust anchors in force beside the system's, or instead of them"""
    trust_system: bool = True
    """whether the system's trust store is trusted"""
    profile: str = "default"


@dataclass(frozen=True)
class Ballot:
    """One strategy's vote, and why, as a part of a sentence."""

    vote: Vote
    reason: str


@dataclass(frozen=True)
class Counted:
    """A ballot, whose it is, and what it was counted as."""

    choice: Choice
    necessary: bool
    ballot: Ballot
    count: Count

    def describe(self) -> str:
        """Return a line such as ``revocation (necessary): reject, the certificate is revoked``."""
        part = "necessary" if self.necessary else "voting"
        vote = self.ballot.vote.value
        counted = "" if self.count.value == vote else f" counted as {self.count.value}"
        return f"{self.choice.name} ({part}): {vote}{counted}, {self.ballot.reason}"


@dataclass(frozen=True)
class Verdict:
    """What was decided, and how everybody voted."""

    accepted: bool
    votes: tuple[Counted, ...]
    text: str
    """one sentence for TLS_ERROR and the log"""

    def describe(self) -> tuple[str, ...]:
        """Return a line for each vote; the same lines are kept once, however many connections keep them."""
        return tuple(sys.intern(vote.describe()) for vote in self.votes)
