"""The policy's strategies judge a peer: after its handshake, and before anybody is told of success."""

from __future__ import annotations

import datetime
import logging

from ..errors import CertificateError
from ..policy.model import Settings
from ..tls.engine import Engine
from ..validation.judging import judge

_log = logging.getLogger("ssad")


async def validate(engine: Engine, settings: Settings) -> tuple[str, ...]:
    """Return how each voted when the peer is to be believed.  Raises CertificateError with the verdict's sentence."""
    if settings.validation is None or not settings.authenticate_peer:
        return ()
    case = engine.case(datetime.datetime.now(datetime.UTC))
    verdict = await judge(settings.validation, case)
    votes = verdict.describe()
    of = f"{case.hostname or 'a peer'} (profile {settings.profile})"
    if not verdict.accepted:
        _log.info("validation refused %s: %s", of, "; ".join(votes))
        raise CertificateError(verdict.text)
    _log.debug("validation accepted %s: %s", of, "; ".join(votes))
    return votes
