"""OCSP answers about certificates of our own, to staple (RFC 6066 section 8): when to ask, until when to give out.

Pure but for the trust store that :func:`with_issuer` reads.  What strategies do not believe of others is not stapled:
an answer that nobody appointed has signed, is about another certificate, or does not hold now.
"""

from __future__ import annotations

import datetime
import re
from base64 import b64decode
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from .model import Choice
from .strategies.answers import Answer, NoAnswer
from .strategies.ocsp import must_staple
from .strategies.webpki import system_anchors

SOONEST = datetime.timedelta(seconds=1)
"""what lies between two requests at least; doubled by each failure in a row"""
LATEST = datetime.timedelta(hours=1)
"""what lies between two requests at most: so soon a revocation is noticed"""
LATEST_RETRY = datetime.timedelta(minutes=5)
"""the same after failures: so soon a responder that is back is noticed"""
_DOUBLINGS = 9  # beyond LATEST_RETRY
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]+)-----END")


class Result(StrEnum):
    """What came of asking."""

    GOOD = "good"
    REVOKED = "revoked"
    FAILED = "failed"


@dataclass(frozen=True)
class Subject:
    """A certificate that some user's listeners present, under one profile."""

    uid: int
    profile: str
    chain_pem: bytes
    """leaf first"""
    choice: Choice
    """the policy's table ``revocation``: how responders are asked"""
    anchors_pem: bytes = b""
    """where its issuer is looked for beside the chain"""
    trust_system: bool = False
    """whether it is looked for in the system's trust store as well"""


@dataclass(frozen=True)
class Standing:
    """What is known of one certificate; times are aware, UTC."""

    due: datetime.datetime
    """when to ask next"""
    response: bytes = b""
    """DER, b"" for none"""
    until: datetime.datetime | None = None
    """when the response ceases to hold"""
    failures: int = 0
    """in a row"""
    result: Result = Result.FAILED
    text: str = ""
    """a sentence's end for the log"""

    def current(self, now: datetime.datetime) -> bytes:
        """Return the response to staple, b"" for none."""
        return self.response if self.until is not None and now < self.until else b""

    def answered(self, answer: Answer, response: bytes, now: datetime.datetime) -> Standing:
        """Take an answer; "revoked" is never stapled, and ends the answer before.  The next one is due at half time."""
        if answer.revoked:
            return Standing(now + LATEST, result=Result.REVOKED, text=f"was {answer.detail}; nothing is stapled")
        if answer.until <= now:
            return self.failed(f"it expired at {answer.until:%Y-%m-%d %H:%M} UTC", now)
        wait = min(max((answer.until - now) / 2, SOONEST), LATEST)
        return Standing(now + wait, response, answer.until, result=Result.GOOD, text="is stapled with its OCSP answer")

    def failed(self, why: str, now: datetime.datetime) -> Standing:
        """Keep the answer before until it ends, and ask again later and later."""
        wait = min(SOONEST * 2 ** min(self.failures, _DOUBLINGS), LATEST_RETRY)
        kept = f"the last one serves until {self.until:%Y-%m-%d %H:%M} UTC" if self.current(now) else "none is stapled"
        text = f"has no new OCSP answer ({why}); {kept}"
        return Standing(now + wait, self.response, self.until, self.failures + 1, text=text)


def with_issuer(subject: Subject) -> tuple[x509.Certificate, x509.Certificate]:
    """Return a subject's certificate and its issuer's.  Raises NoAnswer.  Blocking: reads the system's trust store."""
    leaf = x509.load_pem_x509_certificate(subject.chain_pem)
    found = _issuer(leaf, subject.chain_pem + subject.anchors_pem)
    if found is None and subject.trust_system:
        try:
            found = _issuer(leaf, system_anchors())
        except OSError as error:
            raise NoAnswer(f"the system's trust store cannot be read: {error.strerror}") from None
    if found is None:
        raise NoAnswer("its issuer is neither in its chain nor in the trust store")
    return leaf, found


def _issuer(leaf: x509.Certificate, pem: bytes) -> x509.Certificate | None:
    """Look for the issuer; of the other certificates nothing is parsed, whatever is wrong with them."""
    name = leaf.issuer.public_bytes()
    for block in _CERTIFICATE.findall(pem):
        try:
            if name in (der := b64decode(block)):
                candidate = x509.load_der_x509_certificate(der)
                leaf.verify_directly_issued_by(candidate)
                return candidate
        except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
            continue
    return None


def describe(subject: Subject) -> str:
    """Return how the log calls a certificate: its serial number, and whether it promises to staple (RFC 7633)."""
    leaf = x509.load_pem_x509_certificate(subject.chain_pem)
    promise = ", which promises to staple (RFC 7633)," if must_staple(leaf) else ""
    return f"the certificate {leaf.serial_number:x} (profile {subject.profile}){promise}"
