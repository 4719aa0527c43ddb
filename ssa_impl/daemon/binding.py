"""bind(): at once; or, where a listener that its application has closed still has the port, as soon as that is free.

The kernel frees a TCP listener's port with its last descriptor.  Here each worker has a copy of the TCP socket, and
lets go of it a little after the application's descriptor was closed.  Nobody who binds shall notice: whether such a
listener is in the way, every worker can say at once.

It is the daemon that binds, and it may be root's: whether the application may have a low port, the parent finds out.
"""

from __future__ import annotations

import errno
import math
from typing import TYPE_CHECKING

import trio

from ..control.daemon_channel import DaemonChannel
from ..control.messages import Bind, Reply
from ..errors import ApplicationError, NetworkError, SsaError
from ..sockets.addresses import Address, parse_sockaddr
from ..sockets.states import Event
from .outer import Outer
from .services import Services

if TYPE_CHECKING:
    from .session import Session

_OTHERS_LEAVE_S = 1.0
_PAUSE_S = 0.01
_LOW = 1024


async def bind(session: Session, channel: DaemonChannel, message: Bind) -> None:
    """Serve bind()."""
    try:
        with session.socket.remembering():
            outer = session.outer()
            session.socket.happen(Event.BIND)
            address = parse_sockaddr(outer.family, message.address)
            await _require_right(session, address[1])
            await _bind(session.services, outer, address)
    except SsaError as error:
        await channel.send(Reply(message.request, error.errno))
    else:
        await channel.send(Reply(message.request, 0))


async def _require_right(session: Session, port: int) -> None:
    """Let nobody use the daemon's own right to the low ports.  Raises ApplicationError(EACCES), DaemonError(EACCES)."""
    if 0 < port < _LOW and port < (await session.identify()).lowest_port:
        raise ApplicationError(f"port {port} needs the capability CAP_NET_BIND_SERVICE (ip(7))", errno.EACCES)


async def _bind(services: Services, outer: Outer, address: Address) -> None:
    while True:
        try:
            outer.bind(address)
        except NetworkError as error:
            if error.errno != errno.EADDRINUSE or not _is_being_left(services, address[1]):
                raise
        else:
            return
        await trio.sleep(_PAUSE_S)


def _is_being_left(services: Services, port: int) -> bool:
    """Whether a listener with this port has been closed, and workers may still be letting go of it."""
    if any(acceptor.port == port and not acceptor.is_wanted for acceptor in services.acceptors.values()):
        return True
    return trio.current_time() - services.ports_left.get(port, -math.inf) < _OTHERS_LEAVE_S
