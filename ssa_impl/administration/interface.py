"""What the daemon must be able to answer, and who may ask for what.

Every method may raise :class:`Refused`: its text, and all complaints, are the administrator's answer.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .answers import Drained, Explanation, Profiles, Reloaded, Sessions, Status

_UCRED = struct.Struct("iII")  # struct ucred of unix(7)
SESSIONS_AT_MOST = 100_000


class Refused(Exception):
    """The daemon will not do it, or cannot.

    :ivar complaints: what is wrong, one sentence each; () when the text says everything
    """

    def __init__(self, text: str, complaints: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.complaints = tuple(complaints)


@dataclass(frozen=True)
class Question:
    """Which application ``explain`` is about: a process that runs, or a program as a user would run it."""

    pid: int = 0
    """0: none, then ``executable`` is given"""
    executable: str = ""
    """absolute path"""
    user: str = ""
    """name or number; "" for the process's own, or for whoever asks"""


@dataclass(frozen=True)
class Caller:
    """Who is at the other end of an administration socket, as the kernel says."""

    uid: int
    pid: int

    @classmethod
    def at(cls, connection: socket.socket) -> Caller:
        """Ask the kernel (SO_PEERCRED of unix(7)).  Raises OSError."""
        pid, uid, _ = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        return cls(uid, pid)

    def administers(self, daemon_uid: int) -> bool:
        """Whether this one may ask for everything: root, and the user who runs the daemon."""
        return self.uid in {0, daemon_uid}


class Provider(Protocol):
    """The daemon, as its administrator sees it."""

    async def status(self) -> Status:
        """Say how the daemon, its workers and its policy are."""

    async def sessions(self, uid: int | None, limit: int) -> Sessions:
        """Return the secure sockets of one user, or of all (None): the oldest ``limit`` ones, and how many in all."""

    async def profiles(self) -> Profiles:
        """Return the profiles of the policy in force."""

    async def explain(self, question: Question, caller: Caller) -> Explanation:
        """Say what applies to an application under the policy in force, and why."""

    async def reload(self, *, enforce: bool) -> Reloaded:
        """Load the policy again, all of it or nothing; ``enforce`` ends the connections it would not have allowed."""

    async def drain(self) -> Drained:
        """Take no new sockets, and end with the last connection."""

    async def metrics(self) -> str:
        """Return the OpenMetrics text of the parent and all workers."""
