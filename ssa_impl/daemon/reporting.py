"""What becomes of each connection, for the counts and the log: one call at each of its turns."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from ..administration import logs
from ..administration.logs import Event
from ..administration.metrics import reason_of, version_name
from ..errors import DaemonError, SsaError
from ..sockets.addresses import Address

if TYPE_CHECKING:
    from .relay import Wire
    from .session import Session

Fields = dict[str, str | float]
"""what a line says beside its sentence; names are those of the log's fields"""


def connected(session: Session, wire: Wire) -> None:
    """The peer has been authenticated."""
    if (agreed := session.socket.negotiated) is None:
        return
    session.services.counts.authenticated(
        session.profile.name, role(session), agreed.version, agreed.resumed, wire.handshake_s
    )
    if Event.CONNECTED in logs.connections:
        more: Fields = {
            "version": version_name(agreed.version),
            "cipher": agreed.cipher,
            "resumed": "yes" if agreed.resumed else "no",
            "duration_s": wire.handshake_s,
        }
        if wire.votes:
            more["votes"] = "; ".join(wire.votes)
        _say(session, Event.CONNECTED, "connected", more)


def turned_away(listener: Session, address: Address, error: SsaError) -> None:
    """A listener's peer was not let in; it has no socket of its own."""
    refused(listener, error, name_of(address), f"a peer at {address[0]} was turned away: {error.text}")


def refused(session: Session, error: SsaError, peer: str = "", text: str = "") -> None:
    """A connection was not established."""
    session.services.counts.refused(session.profile.name, role(session), error)
    if Event.REFUSED in logs.connections:
        why: Fields = {"reason": reason_of(error), "errno": error.errno}
        _say(session, Event.REFUSED, text or error.text, why, peer)


def broken(session: Session, error: SsaError) -> None:
    """An established connection did not end in order."""
    session.services.counts.broken(session.profile.name, role(session), error)
    if Event.BROKEN in logs.connections:
        why: Fields = {"reason": reason_of(error), "errno": error.errno}
        _say(session, Event.BROKEN, error.text, {**why, **_carried(session)})


def ended(session: Session) -> None:
    """An established connection has ended in order."""
    if Event.ENDED in logs.connections:
        _say(session, Event.ENDED, "ended", _carried(session))


def abandoned(session: Session, *, in_order: bool) -> None:
    """The daemon leaves an established connection; ``in_order``: when both sides had ended it already."""
    if in_order:
        ended(session)
    else:
        broken(session, DaemonError("the daemon ended it", errno.ECONNRESET))


def role(session: Session) -> str:
    """Return the word for the session's role."""
    return session.role.name.lower() if session.role is not None else "none"


def name_of(address: Address) -> str:
    """Return an address and its port in the usual notation."""
    return f"[{address[0]}]:{address[1]}" if ":" in str(address[0]) else f"{address[0]}:{address[1]}"


def _carried(session: Session) -> Fields:
    return {
        "received_bytes": session.traffic.received_bytes,
        "sent_bytes": session.traffic.sent_bytes,
        "duration_s": time.monotonic() - session.since_s,
    }


def _say(session: Session, event: Event, text: str, more: Fields, peer: str = "") -> None:
    logs.connections.say(
        event,
        text,
        id=session.socket.number,
        uid=session.uid,
        pid=session.pid,
        profile=session.profile.name,
        role=role(session),
        name=session.hostname,
        peer=peer or session.peer_name(),
        **more,
    )
