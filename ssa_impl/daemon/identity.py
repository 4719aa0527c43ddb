"""Whose a secure socket is: made from what the kernel says about the process that opened it.

The parent looks, since a hardened worker may read nothing of other processes; the worker asks it, and only when the
answer matters: where the policy has no rules, every application has the same profile.

The channel's other end names the process (a seccomp boundary speaks for its descendants), so its own user id, which the
kernel vouches for, must be that process's too.  Only root's boundary may speak for processes of other users.  Between
processes of one user there is no such check, and none would help: each may trace the others.
"""

from __future__ import annotations

import errno
import itertools
import json
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from ..errors import DaemonError
from ..hardening.capabilities import Capability
from ..policy.policy import Application
from .mail import Post

_IDENTIFY = struct.Struct("<IiI")  # number, pid, uid
_NUMBER = struct.Struct("<I")
_DELETED = " (deleted)"  # what proc_pid_exe(5) says of a program that has been replaced while it runs
_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_FIRST_UNPRIVILEGED = 1024
_EFFECTIVE = 1  # column of Uid and Gid in proc_pid_status(5)


class Unidentified(Exception):
    """Nothing certain can be said about this process; the text says why."""


def identify(pid: int, uid: int) -> Application:
    """Return who runs as ``pid``, named by a process of the user ``uid``.  Raises Unidentified."""
    process = Path("/proc") / str(pid)
    try:
        executable = str((process / "exe").readlink()).removesuffix(_DELETED)
        status = _status((process / "status").read_text("utf-8", "surrogateescape"))
        cgroup = _cgroup((process / "cgroup").read_text("utf-8", "surrogateescape"))
        lowest_port = _lowest_port(process, int(status["CapEff"], 16))
    except OSError as error:
        raise Unidentified(f"what process {pid} runs cannot be seen: {error.strerror}") from None
    owner = int(status["Uid"].split()[_EFFECTIVE])
    if uid not in {owner, 0}:
        raise Unidentified(f"process {pid} belongs to another user ({owner}) than who asks for it ({uid})")
    groups = frozenset(map(int, status["Groups"].split()))
    return Application(pid, owner, int(status["Gid"].split()[_EFFECTIVE]), groups, executable, cgroup, lowest_port)


def _lowest_port(process: Path, capabilities: int) -> int:
    """Return the lowest port that the kernel would let a process bind to."""
    has_right = capabilities >> Capability.CAP_NET_BIND_SERVICE & 1
    try:
        if has_right and (process / "ns/user").samefile("/proc/self/ns/user"):  # in one's own one has every right
            return 0
        return int(_UNPRIVILEGED.read_text("ascii"))
    except OSError:
        return _FIRST_UNPRIVILEGED


def _status(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines())}


def _cgroup(text: str) -> str:
    """Return the path in the unified hierarchy (cgroups(7)), "" when there is none."""
    return next((line.removeprefix("0::") for line in text.splitlines() if line.startswith("0::")), "")


def answer(body: bytes) -> bytes:
    """In the parent: do what an IDENTIFY asks; return the message that answers."""
    number, pid, uid = _IDENTIFY.unpack(body)
    try:
        found = identify(pid, uid)
    except Unidentified as why:
        fields: dict[str, object] = {"error": str(why)}
    else:
        fields = to_fields(found)
    return Post.IDENTIFIED.value + _NUMBER.pack(number) + json.dumps(fields).encode("ascii")


def to_fields(application: Application) -> dict[str, object]:
    """Return an application as a JSON object."""
    return {**vars(application), "groups": sorted(application.groups)}


def from_fields(fields: dict[str, Any]) -> Application:
    """Return what :func:`to_fields` was given."""
    return Application(**{**fields, "groups": frozenset(fields["groups"])})


class Identities:
    """A worker's side."""

    def __init__(self, post: Callable[[Post, bytes], Awaitable[None]]) -> None:
        """``post`` sends to the parent."""
        self._post = post
        self._numbers = itertools.cycle(range(1 << 32))
        self._asked: dict[int, trio.Event] = {}
        self._given: dict[int, dict[str, object]] = {}

    async def of(self, pid: int, uid: int) -> Application:
        """Ask who runs as ``pid``.  Raises DaemonError(EACCES)."""
        number = next(self._numbers)
        self._asked[number] = answered = trio.Event()
        try:
            await self._post(Post.IDENTIFY, _IDENTIFY.pack(number, pid, uid))
            await answered.wait()
        finally:
            del self._asked[number]
        given = self._given.pop(number)
        if "error" in given:
            raise DaemonError(f"{given['error']}, and it matters which program this is", errno.EACCES)
        return from_fields(given)

    def given(self, body: bytes) -> None:
        """The parent's answer."""
        (number,) = _NUMBER.unpack_from(body)
        if number in self._asked:
            self._given[number] = json.loads(body[_NUMBER.size :])
            self._asked[number].set()
