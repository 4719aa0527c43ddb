"""What this worker staples: it asks responders in the background, as long as somebody presents the certificate.

No handshake waits for an answer: one that comes while there is none goes on without.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..administration.metrics import Counts
from ..policy.model import Settings
from ..validation.registry import thawed
from ..validation.staples import LATEST, Result, Standing, Subject, describe, with_issuer
from ..validation.strategies.answers import Answer, NoAnswer
from ..validation.strategies.responders import Responders
from ..validation.strategy import in_thread

_log = logging.getLogger("ssad")
_AT_ONCE = 8
"""requests under way; those of validations have room of their own"""
_OF_ONE_USER = 256
_LEVELS = {Result.GOOD: logging.INFO, Result.REVOKED: logging.ERROR, Result.FAILED: logging.WARNING}

Ask = Callable[[Subject, datetime.datetime], Awaitable[tuple[Answer, bytes]]]
"""returns an answer and the response it came in; raises NoAnswer"""


def utc_now() -> datetime.datetime:
    """Return the time, aware, UTC."""
    return datetime.datetime.now(datetime.UTC)


async def ask(subject: Subject, now: datetime.datetime) -> tuple[Answer, bytes]:
    """Ask the responders of a certificate, within the time of the policy's table.  Raises NoAnswer."""
    patience_s = subject.choice.timeout_s
    try:
        with trio.fail_after(patience_s):
            pair = await in_thread(with_issuer, subject)
            return await Responders.of(thawed(subject.choice)).ask(*pair, now)
    except trio.TooSlowError:
        raise NoAnswer(f"no answer within {patience_s:g} s") from None


@dataclass(frozen=True)
class _Held:
    profile: str
    subjects: Mapping[bytes, Subject]
    """by leaf, DER"""


class Staples:
    """One per worker."""

    def __init__(
        self,
        start: Callable[..., None],
        counts: Counts,
        ask: Ask = ask,
        now: Callable[[], datetime.datetime] = utc_now,
    ) -> None:
        """``start`` runs something beside; ``now`` gives the time, aware, UTC."""
        self._start = start
        self._counts = counts
        self._ask = ask
        self._now = now
        self._turns = trio.CapacityLimiter(_AT_ONCE)
        self._held: dict[object, _Held] = {}
        self._used: dict[Subject, datetime.datetime] = {}
        self._standings: dict[Subject, Standing] = {}

    def hold(self, holder: object, uid: int, settings: Settings | None) -> None:
        """Keep answers about the certificates of these settings for a holder, in place of those that it held before."""
        self.release(holder)
        if settings is None or settings.staple is None:
            return
        anchors = (settings.anchors_pem or b"", settings.trust_system)
        subjects = {
            _der(identity.chain_pem): Subject(uid, settings.profile, identity.chain_pem, settings.staple, *anchors)
            for identity in settings.identities
        }
        self._held[holder] = _Held(settings.profile, subjects)
        for subject in subjects.values():
            if subject not in self._standings:
                self._begin(subject)

    def release(self, holder: object) -> None:
        """Hold nothing any more for a holder: answers are kept fresh for an hour, for somebody who comes back."""
        if (held := self._held.pop(holder, None)) is not None:
            self._used |= dict.fromkeys(self._standings.keys() & held.subjects.values(), self._now())

    def look_up(self, holder: object, leaf: bytes) -> bytes:
        """Return the answer about a holder's certificate (DER) that holds now, b"" for none, and count it."""
        if (held := self._held.get(holder)) is None:
            return b""
        subject = held.subjects.get(leaf)
        standing = self._standings.get(subject) if subject is not None else None
        response = standing.current(self._now()) if standing is not None else b""
        self._counts.stapled(held.profile, sent=bool(response))
        return response

    def _begin(self, subject: Subject) -> None:
        if sum(other.uid == subject.uid for other in self._standings) >= _OF_ONE_USER:
            _log.warning("%s is not stapled: user %d has %d others", describe(subject), subject.uid, _OF_ONE_USER)
            return
        self._standings[subject] = Standing(self._now())
        self._start(self._keep_fresh, subject)

    async def _keep_fresh(self, subject: Subject) -> None:
        try:
            while self._is_wanted(subject):
                await self._refresh(subject)
                await trio.sleep(max(0.0, (self._standings[subject].due - self._now()).total_seconds()))
        finally:
            del self._standings[subject]
            self._used.pop(subject, None)

    def _is_wanted(self, subject: Subject) -> bool:
        if any(subject in held.subjects.values() for held in self._held.values()):
            return True
        return (used := self._used.get(subject)) is not None and self._now() < used + LATEST

    async def _refresh(self, subject: Subject) -> None:
        before = self._standings[subject]
        try:
            async with self._turns:
                answer, response = await self._ask(subject, self._now())
            after = before.answered(answer, response, self._now())
        except NoAnswer as none:
            after = before.failed(str(none), self._now())
        self._standings[subject] = after
        self._counts.staple_requested(subject.profile, after.result)
        if after.text != before.text:
            _log.log(_LEVELS[after.result], "%s %s", describe(subject), after.text)


def _der(chain_pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(chain_pem).public_bytes(Encoding.DER)
