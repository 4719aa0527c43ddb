"""An established connection from its first byte to its last, and what the application must find at its end."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..control.daemon_channel import DaemonChannel
from ..control.messages import Keep, Reset
from ..errors import SsaError
from ..tls.engine import Engine
from . import enforcing, reporting
from .relay import Relay, Wire
from .waits import has_hung_up

if TYPE_CHECKING:
    from .session import Session

_RESET_S = 2.0
"""how long the boundary may take to prepare a reset; without it, the application sees end of file"""


async def carry(
    session: Session, inner: socket.socket, wire: Wire, engine: Engine, settled: Callable[[], None] = lambda: None
) -> None:
    """Relay; return when nobody has the application's descriptor open any more."""
    relay = Relay(inner, wire, engine, settled, session.traffic)
    if session.epoch < session.services.enforced:
        session.services.start(enforcing.judge_newcomer, session.services, session)
    try:
        await _run(session, relay)
        reporting.ended(session)
    except SsaError as error:
        session.fail(error)
        await _reset(session, inner)
    except BaseException:  # the daemon ends, or has a defect
        reporting.abandoned(session, in_order=relay.has_ended)
        raise
    if not relay.application_is_gone:
        await session.boundary_gone.wait()


async def _run(session: Session, relay: Relay) -> None:
    """Relay until both sides have ended.  Raises what ended it otherwise, the verdict of a session that is cut too."""
    try:
        with trio.CancelScope() as session.carrying:
            if session.verdict is None:
                await relay.run()
    finally:
        session.engine = None
    if session.verdict is not None:
        raise session.verdict


async def carry_accepted(
    session: Session, channel: DaemonChannel, inner: socket.socket, wire: Wire, engine: Engine
) -> None:
    """Relay for a peer that a listener took in; end the session afterwards."""
    with inner:
        if session.watched:
            await channel.send(Keep(), [inner.fileno()])
        await carry(session, inner, wire, engine)
    session.end()


async def _reset(session: Session, inner: socket.socket) -> None:
    """Close the application's connection so that its next end of file is ECONNRESET."""
    if session.watched and session.channels and not has_hung_up(inner):
        await session.channels[0].send(Reset())
        with trio.move_on_after(_RESET_S):
            await session.reset_done.wait()
    inner.close()
