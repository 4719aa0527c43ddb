"""How another policy comes into force in a worker, and what else the parent asks of it.

In two steps, so that all workers change or none does: a policy is *prepared* (every context that it leads to can be
made, and it is known whose each open socket is), then it is *committed*, which happens at once, between two messages:
every socket that comes later has it.  A socket that is not connected yet, and a listener's next peers, have it too.
A connection that exists keeps running; when the policy is to be *enforced*, one that it would not allow is cut.
"""

from __future__ import annotations

import json
import logging
import os
import struct
from collections.abc import Awaitable, Callable

import trio

from ..administration.metrics import to_json_value, version_name
from ..errors import SsaError
from ..policy.contexts import forget_contexts
from ..policy.policy import Policy
from ..sockets.states import State
from . import enforcing, sharing
from .checking import check
from .distribution import unpack
from .mail import ALL_OTHERS, PARENT, Ask, Post
from .services import Services
from .session import Session

_log = logging.getLogger("ssad")
_NUMBER = struct.Struct("<I")
_AT_ONCE = 0
_STATES = {State.OPEN: "unconnected", State.CONNECTING_ASYNC: "connecting"}


def receive(services: Services, body: bytes, descriptor: int) -> None:
    """A policy has come: prepare it and answer, or adopt it at once."""
    (number,) = _NUMBER.unpack_from(body)
    policy = unpack(descriptor)
    stays = bool(body[_NUMBER.size :])
    services.prepared, services.prepared_to_retire = policy, not stays
    if number == _AT_ONCE:
        forget_contexts()
        commit(services)
        services.start(_govern_strangers, services)
        return
    services.start(_answer, services, number, _prepare if stays else _prepare_to_retire, policy)


def hear(services: Services, body: bytes) -> None:
    """The parent asks; what changes something changes it now, before the next message is looked at."""
    (number,) = _NUMBER.unpack_from(body)
    what, parameter = Ask(body[_NUMBER.size : _NUMBER.size + 1]), body[_NUMBER.size + 1 :]
    match what:
        case Ask.COMMIT:
            commit(services, enforced=bool(parameter))
        case Ask.ABORT:
            services.prepared = None
        case Ask.DRAIN:
            _begin_to_drain(services)
        case Ask.RETIRE:
            _retire(services)
    services.start(_answer, services, number, _ANSWERS[what], parameter)


async def _answer(
    services: Services,
    number: int,
    work: Callable[[Services, Policy | bytes], Awaitable[bytes]],
    parameter: Policy | bytes,
) -> None:
    content = await work(services, parameter)
    descriptor = os.memfd_create("ssa-answer", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        await services.post(PARENT, Post.ANSWER, _NUMBER.pack(number), [descriptor])
    finally:
        os.close(descriptor)


# -- a policy


async def _prepare(services: Services, policy: Policy | bytes) -> bytes:
    """Return why this policy cannot be used, nothing when it can."""
    assert isinstance(policy, Policy)
    if complaints := check(policy):
        return "\n".join(complaints).encode()
    return await _prepare_to_retire(services, policy)


async def _prepare_to_retire(services: Services, policy: Policy | bytes) -> bytes:
    """As :func:`_prepare` without making contexts: their files may be a successor's to open."""
    assert isinstance(policy, Policy)
    await _identify_all(services, policy)
    return b""


async def _identify_all(services: Services, policy: Policy) -> None:
    """Find out whose each socket is, where a policy tells applications apart."""
    if policy.rules:
        async with trio.open_nursery() as nursery:
            for owner in _owners(services):
                if owner.application is None:
                    nursery.start_soon(_try_to_identify, owner)


def _owners(services: Services) -> list[Session]:
    """Sockets of this worker, and those whose peers it takes for another one."""
    return [*services.live, *(acceptor.owner for acceptor in services.acceptors.values())]


async def _try_to_identify(owner: Session) -> None:
    try:
        await owner.identify()
    except SsaError as error:
        _log.warning("socket %d: %s", owner.socket.number, error.text)


def commit(services: Services, *, enforced: bool = False) -> None:
    """Let the policy that was prepared be in force, where it is not yet.

    ``enforced``: connections that are being made are judged by it.
    """
    if (policy := services.prepared) is not None:
        _put_in_force(services, policy)
    if enforced:
        services.enforced = services.epoch


def _put_in_force(services: Services, policy: Policy) -> None:
    services.govern(policy)
    for session in services.live:
        if session.socket.state is not State.CONNECTED:
            session.govern()
    for acceptor in list(services.acceptors.values()):
        acceptor.owner.govern()
        acceptor.renew()


async def _govern_strangers(services: Services) -> None:
    """Find out about those for whom no profile could be found before."""
    for owner in _owners(services):
        if owner.ungoverned:
            await _try_to_identify(owner)
            owner.govern()
    for acceptor in list(services.acceptors.values()):
        acceptor.renew()


async def _committed(services: Services, enforce: Policy | bytes) -> bytes:
    """Return how many connections were cut."""
    if not enforce:
        return b"0"
    await _identify_all(services, services.policy)  # done already, unless the policy was adopted at once
    return str(await enforcing.enforce(services)).encode()


# -- drain


def _begin_to_drain(services: Services) -> None:
    if services.draining is None:
        services.draining = trio.Event()
        for acceptor in list(services.acceptors.values()):
            acceptor.stop()
        services.look_whether_quiet()


async def _drained(services: Services, _: Policy | bytes) -> bytes:
    """Answer once no connection is left."""
    assert services.draining is not None
    await services.draining.wait()
    return b""


# -- a successor


def _retire(services: Services) -> None:
    """Another worker has this one's place: it takes what is new, and everything here that is not connected."""
    if services.retiring is None:
        services.retiring = trio.Event()
        for session in services.live:
            session.look_up()


async def _retired(services: Services, _: Policy | bytes) -> bytes:
    """Answer once nothing is left."""
    assert services.retiring is not None
    await share_listeners(services, ALL_OTHERS)
    for acceptor in services.acceptors.values():
        acceptor.retire()
    await sharing.bequeath_contexts(services)
    services.look_whether_quiet()
    await services.retiring.wait()
    return b""


async def share_listeners(services: Services, target: int) -> None:
    """Let another worker take the peers of this worker's listeners too, or all others."""
    for acceptor in tuple(services.acceptors.values()):
        await acceptor.share(target)


# -- what there is


async def _ping(_services: Services, _: Policy | bytes) -> bytes:
    return b""


async def _status(services: Services, _: Policy | bytes) -> bytes:
    """Return the sockets of each profile, and the connections, as JSON."""
    profiles: dict[str, int] = {}
    for session in services.live:
        profiles[session.profile.name] = profiles.get(session.profile.name, 0) + 1
    connections = sum(session.is_busy for session in services.live)
    return json.dumps({"profiles": profiles, "sockets": len(services.live), "connections": connections}).encode("ascii")


async def _sessions(services: Services, uid: Policy | bytes) -> bytes:
    """Return what the administrator sees of each secure socket, as JSON."""
    rows = [
        _row(services, session)
        for session in services.live
        if not uid or session.uid == int(uid)  # type: ignore[arg-type]
    ]
    return json.dumps(rows).encode("ascii")


def _row(services: Services, session: Session) -> dict[str, object]:
    agreed = session.socket.negotiated
    return {
        "id": session.socket.number,
        "uid": session.uid,
        "pid": session.pid,
        "profile": session.profile.name,
        "state": _STATES.get(session.socket.state) or session.socket.state.name.lower(),
        "role": session.role.name.lower() if session.role else "",
        "executable": session.application.executable if session.application else "",
        "hostname": session.hostname,
        "peer": session.peer_name(),
        "version": version_name(agreed.version) if agreed else "",
        "cipher": agreed.cipher if agreed else "",
        "received_bytes": session.traffic.received_bytes,
        "sent_bytes": session.traffic.sent_bytes,
        "opened_at_s": session.opened_at_s,
        "worker": services.index,
        "votes": session.votes,
    }


async def _metrics(services: Services, _: Policy | bytes) -> bytes:
    """Return what was counted, as JSON."""
    return json.dumps(to_json_value(services.counts.snapshot())).encode("ascii")


_ANSWERS: dict[Ask, Callable[[Services, Policy | bytes], Awaitable[bytes]]] = {
    Ask.PING: _ping,
    Ask.COMMIT: _committed,
    Ask.ABORT: _ping,
    Ask.RETIRE: _retired,
    Ask.DRAIN: _drained,
    Ask.STATUS: _status,
    Ask.SESSIONS: _sessions,
    Ask.METRICS: _metrics,
}
