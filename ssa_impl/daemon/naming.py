"""Certificates and keys of the policy, as a socket comes by them: by name, by path, or because its profile has one.

Whoever needs a key waits for the keeper here; what a socket then keeps is the name, and the key stays in one place.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..abi import IPPROTO_TLS, Opt
from ..control.daemon_channel import DaemonChannel
from ..control.messages import Reply, SetByPath, SetOption
from ..errors import SsaError
from ..keys.holding import KEY_OPTIONS, name_in, value_of

if TYPE_CHECKING:
    from .relocation import Option
    from .services import Services
    from .session import Session

_log = logging.getLogger("ssad")


async def set_named(session: Session, channel: DaemonChannel, message: SetByPath | SetOption) -> None:
    """Serve setsockopt() of a chain or a key by name, or by a path that the application cannot open."""
    try:
        with session.socket.remembering():
            session.outer()
            await _set(session, message)
    except SsaError as error:
        await channel.send(Reply(message.request, error.errno))
    else:
        await channel.send(Reply(message.request, 0))


async def _set(session: Session, message: SetByPath | SetOption) -> None:
    if isinstance(message, SetByPath):
        reference, why_not = message.path.decode("utf-8", "surrogateescape"), message.errno
    else:
        reference, why_not = name_in(message.level, message.name, message.value) or "", 0
    if message.name in KEY_OPTIONS:
        name = await session.services.keys.find(session.profile.name, reference, why_not)
        session.set_option(IPPROTO_TLS, message.name, value_of(name))
    else:  # no boundary of ours says so
        session.set_option(IPPROTO_TLS, message.name, b"")


def is_named(message: SetOption) -> bool:
    """Whether an option's value is the name of a key of the policy."""
    return name_in(message.level, message.name, message.value) is not None


async def have_ready(session: Session, options: Sequence[Option] = ()) -> None:
    """Hold the keys that a socket's options name: the profile may be another one by now.  Raises SsaError."""
    await session.services.keys.prepare(session.profile.name, options or session.options)


async def equip(session: Session) -> None:
    """Before a socket listens: give it its profile's keys when the application gave none.  Raises SsaError."""
    if session.profile.keys and not session.socket.has_credentials:
        for name in session.profile.keys:
            await session.services.keys.find(session.profile.name, name)
            for option in (Opt.TLS_CERTIFICATE_CHAIN, Opt.TLS_PRIVATE_KEY):
                session.set_option(IPPROTO_TLS, option, value_of(name))
    await have_ready(session)


async def renew_listeners(services: Services) -> None:
    """The policy's keys have changed: let the listeners that name one present what it stands for now."""
    for acceptor in tuple(services.acceptors.values()):
        if acceptor.owner.socket.has_names:
            try:
                await have_ready(acceptor.owner)
            except SsaError as error:
                _log.warning("a listener has lost its key: %s", error.text)
            acceptor.renew()
