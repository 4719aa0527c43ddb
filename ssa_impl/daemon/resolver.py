"""Names to addresses, for AF_HOSTNAME and responders: the system's own resolver, in threads.

A lookup that hangs keeps its thread until the C library gives up, whoever has stopped waiting; so lookups have threads
of their own, a few for each user, and nobody else's work in threads is held up by them.
"""

from __future__ import annotations

import errno
import socket
from contextvars import ContextVar
from typing import Any
from weakref import WeakValueDictionary

import trio

from ..errors import NetworkError
from ..sockets.addresses import Address

LOOKUPS, LOOKUPS_PER_USER = 64, 16
"""at a time in one worker"""
_PATIENCE_S = 30.0
"""how long a name may take, waiting for a thread included"""
_asker: ContextVar[int | None] = ContextVar("asker", default=None)
"""the user for whom this task looks names up, None for the daemon"""


async def resolve_host(uid: int, name: bytes, port: int) -> list[tuple[int, Address]]:
    """Return family and address of a name for a user, best first (getaddrinfo(3), RFC 6724).

    Raises NetworkError: EHOSTUNREACH when the name is not known, EAGAIN when the resolver cannot say now, or in time.
    """
    text = name.rstrip(b"\0").decode("utf-8", "replace")
    _asker.set(uid)
    try:
        with trio.fail_after(_PATIENCE_S):
            found = await trio.socket.getaddrinfo(text, port, type=socket.SOCK_STREAM)
    except trio.TooSlowError:
        raise NetworkError(f"cannot resolve {text} within {_PATIENCE_S:g} s", errno.EAGAIN) from None
    except (socket.gaierror, UnicodeError) as error:
        code = errno.EAGAIN if getattr(error, "errno", None) == socket.EAI_AGAIN else errno.EHOSTUNREACH
        raise NetworkError(f"cannot resolve {text}: {error}", code) from None
    return [(family, address) for family, _, _, _, address in found]


class Lookups(trio.abc.HostnameResolver):
    """What trio asks in a worker, in threads that are bounded for each user and in all."""

    def __init__(self) -> None:
        self._all = trio.CapacityLimiter(LOOKUPS)
        self._of: WeakValueDictionary[int | None, trio.CapacityLimiter] = WeakValueDictionary()

    async def getaddrinfo(self, *arguments: Any) -> Any:
        return await self._in_thread(socket.getaddrinfo, *arguments)

    async def getnameinfo(self, *arguments: Any) -> Any:
        return await self._in_thread(socket.getnameinfo, *arguments)

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        own = self._of.setdefault(_asker.get(), trio.CapacityLimiter(LOOKUPS_PER_USER))
        both: Any = _Both(own, self._all)
        return await trio.to_thread.run_sync(work, *arguments, limiter=both, abandon_on_cancel=True)


class _Both:
    """A place among the user's lookups, and then among all; a thread gives them back when it has ended."""

    def __init__(self, own: trio.CapacityLimiter, of_all: trio.CapacityLimiter) -> None:
        self._own, self._all = own, of_all

    async def acquire_on_behalf_of(self, lookup: object) -> None:
        await self._own.acquire_on_behalf_of(lookup)
        try:
            await self._all.acquire_on_behalf_of(lookup)
        except BaseException:
            self._own.release_on_behalf_of(lookup)
            raise

    def release_on_behalf_of(self, lookup: object) -> None:
        self._all.release_on_behalf_of(lookup)
        self._own.release_on_behalf_of(lookup)
