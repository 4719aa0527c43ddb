"""A policy is enforced: open connections that it would not have allowed are cut.

What was agreed on is looked at first, at once.  Then the peers are judged again, as in a handshake that is made now:
those of which the same is known once for all their connections, and a limited number side by side, so that nobody who
is asked about them is run over.  Whoever has no verdict when the time is over is refused.

A connection whose handshake began under a policy before is judged when it is established.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from ..errors import PolicyError, SsaError
from ..policy.contexts import forget_contexts
from ..policy.model import Settings
from ..tls.evidence import to_der
from ..tls.negotiated import Negotiated
from .rejudging import Evidence, Judgement, judge_again

if TYPE_CHECKING:
    from .services import Services
    from .session import Session

_log = logging.getLogger("ssad")
PATIENCE_S = 60.0
"""how long judging all peers of a worker again may take"""
_AT_ONCE = 64
"""peers that are judged side by side: fewer than a worker sends requests about revocation"""
_Alike = dict[Evidence, list["Session"]]


async def enforce(services: Services) -> int:
    """Cut what the policy in force would not have allowed; return how many connections that were."""
    if services.refers:  # these are of before: nobody made them anew when the policy was prepared
        forget_contexts()
    return await _enforce(services, list(services.live))


async def judge_newcomer(services: Services, session: Session) -> None:
    """As :func:`enforce`, for a connection that was being made when the policy changed."""
    await _enforce(services, [session])


async def _enforce(services: Services, sessions: Iterable[Session]) -> int:
    policy, cut, alike = services.policy, 0, _Alike()
    until_s = trio.current_time() + PATIENCE_S
    for session in sessions:
        try:
            if (evidence := examine(session)) is not None:
                alike.setdefault(evidence, []).append(session)
        except SsaError as error:
            cut += _cut(session, error.text)
        except Exception as error:
            _log.exception("a defect kept one connection from being looked at; the others are")
            cut += _cut(session, f"looking at it failed with {type(error).__name__}")
        await trio.lowlevel.checkpoint()
    waiting = list(alike.items())

    async def judge_some() -> None:
        nonlocal cut
        while waiting and services.policy is policy:  # another one says itself whether it is enforced
            evidence, members = waiting.pop()
            judgement = Judgement(f"its peer was not judged within {PATIENCE_S:g} s")
            with trio.CancelScope(deadline=until_s):
                judgement = await judge_again(services, evidence)
            if services.policy is policy:
                cut += _apply(judgement, evidence, members)

    async with trio.open_nursery() as nursery:
        for _ in range(min(_AT_ONCE, len(waiting))):
            nursery.start_soon(judge_some)
    return cut


def _apply(judgement: Judgement, evidence: Evidence, members: Iterable[Session]) -> int:
    """Cut all connections with a peer that is refused, or note how it was voted for; return how many were cut."""
    cut = 0
    for session in members:
        if judgement.refused:
            cut += _cut(session, judgement.refused)
        else:
            session.votes = judgement.votes
    if cut:
        votes = "; ".join(judgement.votes) or judgement.refused
        of = f"{evidence.hostname or 'a peer'} (profile {evidence.profile})"
        _log.info("judged again, %s is refused, and %d connections end: %s", of, cut, votes)
    return cut


def _cut(session: Session, why: str) -> bool:
    return session.cut(PolicyError(f"the policy was changed and does not allow this connection: {why}"))


def examine(session: Session) -> Evidence | None:
    """Return what the peer of an open connection is to be judged by, None when there is nobody to judge.

    Raises SsaError when the policy in force would not have allowed the connection, whoever the peer is.
    """
    agreed, role = session.socket.negotiated, session.role
    if session.engine is None or agreed is None or role is None:
        return None
    session.govern()
    request = session.socket.request(with_identities=False)
    settings = session.settings(request, role, established=True)
    if why := excess(agreed, settings):
        raise PolicyError(why)
    if not settings.authenticate_peer:
        return None
    return Evidence(
        profile=settings.profile,
        role=role,
        hostname=settings.hostname,
        anchors_pem=request.anchors_pem,
        revocation=request.revocation,
        presented=tuple(map(to_der, agreed.peer_chain)),
        stapled=session.engine.stapled(),
    )


def excess(agreed: Negotiated, settings: Settings) -> str:
    """Say what a connection has agreed on that ``settings`` do not allow, "" for nothing."""
    if not settings.version_min <= agreed.version <= settings.version_max:
        return f"version {agreed.version:#06x}"
    if agreed.cipher not in settings.ciphers:
        return f"cipher {agreed.cipher}"
    groups = {group.lower() for group in settings.groups}
    if groups and agreed.group and agreed.group.lower() not in groups:
        return f"group {agreed.group}"
    if settings.signature_algorithms and agreed.peer_chain:
        return _cannot_sign(agreed.peer_chain[0].get_pubkey().type(), settings.signature_algorithms)
    return ""


_SIGNERS = {6: ("RSA", "rsa", "pss"), 912: ("RSA-PSS", "rsa-pss", "rsa_pss", "pss"), 408: ("ECDSA", "ecdsa")}
"""kinds of keys (EVP_PKEY_id(3)): in words, and how the names of their signature algorithms begin"""


def _cannot_sign(kind: int, names: tuple[str, ...]) -> str:
    """Say so when no key of this kind signs by these algorithms; of other kinds of keys nothing is said."""
    word, *beginnings = _SIGNERS.get(kind, ("", ""))
    if not beginnings or any(name.lower().startswith(tuple(beginnings)) for name in names):
        return ""
    return f"the peer's {word} key, which signs by none of {', '.join(names)}"
