"""An engine outside of the daemon, in the manner of TrustBase: it hears the case as one line of JSON and answers one.

The request::

    {"version": 1, "profile": "default", "role": "initiator", "hostname": "server.example", "time": "2026-...+00:00",
     "chain": ["base64 of DER", ...], "verified_chain": [...], "openssl": {"code": 0, "text": ""},
     "stapled_ocsp": "base64 of DER" or null}

The answer: ``{"vote": "accept", "reason": "why"}``; a vote is accept, reject, abstain or error.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Mapping
from typing import Any, ClassVar

import trio

from ..model import Ballot, Case, Vote
from ..strategy import Parameter, Problem, Strategy, absolute_path, failed

_ANSWER_BYTES = 65_536
_REASON_CHARACTERS = 500
_FULL_QUEUE_S = 0.01
_CREDENTIALS = struct.Struct("=iII")
_VOTES = {vote.value: vote for vote in (Vote.ACCEPT, Vote.REJECT, Vote.ABSTAIN, Vote.ERROR)}


class ExternalEngine(Strategy):
    """Contacts a unix socket, one connection for each case."""

    name: ClassVar[str] = "external-engine"
    summary: ClassVar[str] = "Asks another process over a unix socket, one line of JSON each way."
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "socket": Parameter(
            str, "", "path of the engine's stream socket", valid=absolute_path, rule="an absolute path", file="read"
        ),
        "uid": Parameter(int, 0, "numeric user id that the engine runs as, beside root and the daemon's own user"),
    }

    @classmethod
    def check(cls, parameters: Mapping[str, Any]) -> list[Problem]:
        return [] if parameters["socket"] else [Problem("socket", "socket must be given: the path of the engine")]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._path: str = parameters["socket"]
        self._uids = {0, os.geteuid(), parameters["uid"]}

    async def judge(self, case: Case) -> Ballot:
        try:
            stream = await _connected(self._path)
        except OSError as error:
            return failed(f"the engine at {self._path} cannot be reached: {error.strerror or error}")
        async with stream:
            credentials = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            _, uid, _ = _CREDENTIALS.unpack(credentials)
            if uid not in self._uids:
                return failed(f"the engine at {self._path} runs as user {uid}, who is not believed")
            try:
                await stream.send_all(request(case))
                line = await _line(stream)
            except trio.BrokenResourceError:
                return failed("the engine closed the connection")
        return answer(line)


async def _connected(path: str) -> trio.SocketStream:
    """Connect, and wait while the engine's queue is full, which the kernel says at once (unix(7)).  Raises OSError."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        end.setblocking(False)
        while True:
            try:
                end.connect(path)
                return trio.SocketStream(trio.socket.from_stdlib_socket(end))
            except BlockingIOError:
                await trio.sleep(_FULL_QUEUE_S)
    except BaseException:
        end.close()
        raise


async def _line(stream: trio.SocketStream) -> bytes:
    """Read to the end of the line; what is longer than allowed, or not ended, is returned as it is."""
    line = b""
    while b"\n" not in line and len(line) <= _ANSWER_BYTES:
        received = await stream.receive_some()
        if not received:
            break
        line += received
    return line


def request(case: Case) -> bytes:
    """Return the line that tells an engine about a case."""
    told = {
        "version": 1,
        "profile": case.profile,
        "role": "acceptor" if case.accepting else "initiator",
        "hostname": case.hostname,
        "time": case.now.isoformat(),
        "chain": [_text(der) for der in case.presented],
        "verified_chain": [_text(der) for der in case.verified],
        "openssl": {"code": case.openssl_code, "text": case.openssl_text},
        "stapled_ocsp": None if case.stapled is None else _text(case.stapled),
    }
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def answer(line: bytes) -> Ballot:
    """Return an engine's vote; whatever is not exactly one is an error."""
    content, newline, rest = line.partition(b"\n")
    if not newline or rest or len(content) > _ANSWER_BYTES:
        return failed("the engine's answer is not one line, or too long")
    try:
        said = json.loads(content)
        vote, reason = _VOTES[said["vote"]], said.get("reason", "")
        if not isinstance(reason, str):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        return failed("the engine's answer is no vote")
    shown = "".join(character if character.isprintable() else "?" for character in reason[:_REASON_CHARACTERS])
    return Ballot(vote, shown or "the engine gave no reason")
