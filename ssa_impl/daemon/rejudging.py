"""One peer is judged again, long after its handshake and under another policy: OpenSSL's verdict, then the strategies'.

What is judged is what the connection has kept: the chain as it was presented and the stapled answer.  A worker that has
a successor may not reach the files of the new policy, so it *refers* its cases to that one.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import logging
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from ..abi import Opt
from ..errors import SsaError
from ..policy.contexts import verifier_for
from ..policy.model import Request, Role
from ..policy.resolve import resolve
from ..tls.evidence import gather_again
from ..validation.judging import judge
from ..validation.model import OPENSSL_ALONE
from .mail import Post
from .relocation import from_file, to_file
from .services import Services

_log = logging.getLogger("ssad")
_JUDGEMENT_BYTES = 65_536


@dataclass(frozen=True)
class Evidence:
    """What a verdict on a peer depends on; connections that have the same get the same."""

    profile: str
    role: Role
    hostname: str | None
    anchors_pem: bytes | None
    """the application's own, None where it has given none"""
    revocation: frozenset[Opt]
    presented: tuple[bytes, ...]
    """the chain as the peer sent it, DER, leaf first"""
    stapled: bytes | None

    def to_fields(self) -> dict[str, object]:
        """Return this as JSON has it."""
        return {
            "profile": self.profile,
            "role": self.role.name,
            "hostname": self.hostname,
            "anchors_pem": _text(self.anchors_pem),
            "revocation": sorted(self.revocation),
            "presented": [_text(der) for der in self.presented],
            "stapled": _text(self.stapled),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Evidence:
        """Return what :meth:`to_fields` made."""
        return cls(
            profile=fields["profile"],
            role=Role[fields["role"]],
            hostname=fields["hostname"],
            anchors_pem=_data(fields["anchors_pem"]),
            revocation=frozenset(map(Opt, fields["revocation"])),
            presented=tuple(map(base64.b64decode, fields["presented"])),
            stapled=_data(fields["stapled"]),
        )


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _data(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


@dataclass(frozen=True)
class Judgement:
    """What came of it."""

    refused: str
    """why the peer is not believed any more, "" when it is"""
    votes: tuple[str, ...] = ()
    """how the strategies voted, a line for each"""


async def judge_again(services: Services, evidence: Evidence) -> Judgement:
    """Judge a peer under the policy in force, here or where its files can be reached; a defect is a refusal."""
    try:
        return await (_refer(services, evidence) if services.refers else _judge(services, evidence))
    except Exception as error:
        _log.exception("a defect kept one peer from being judged; the others are")
        return Judgement(f"judging its peer failed with {type(error).__name__}")


async def _judge(services: Services, evidence: Evidence) -> Judgement:
    if (profile := services.policy.profiles.get(evidence.profile)) is None:
        return Judgement(f"there is no profile {evidence.profile} any more")
    request = Request(
        hostname=evidence.hostname,
        anchors_pem=evidence.anchors_pem,
        revocation=evidence.revocation,
        request_peer_auth=True,
    )
    try:
        settings = resolve(profile, request, evidence.role, established=True)
        context = verifier_for(settings)
    except SsaError as error:
        return Judgement(error.text)
    async with services.verifying:
        now = datetime.datetime.now(datetime.UTC)
        case = gather_again(context, settings, evidence.presented, evidence.stapled, now)
    verdict = await judge(settings.validation or OPENSSL_ALONE, case)
    return Judgement("" if verdict.accepted else verdict.text, verdict.describe())


# -- a worker that has a successor


async def _refer(services: Services, evidence: Evidence) -> Judgement:
    """Have the worker that succeeds this one judge."""
    file = to_file(evidence.to_fields())
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with ours:
        try:
            with theirs:
                await services.post(services.index, Post.EVIDENCE, b"", [file, theirs.fileno()])
        finally:
            os.close(file)
        await trio.lowlevel.wait_readable(ours)
        said = ours.recv(_JUDGEMENT_BYTES)
    if not said:
        return Judgement("the worker that was to judge its peer has ended")
    refused, votes = json.loads(said)
    return Judgement(refused, tuple(map(sys.intern, votes)))


async def judge_for_another(services: Services, descriptors: Sequence[int]) -> None:
    """Judge what a worker refers to this one, its successor."""
    file, end = descriptors
    with socket.socket(fileno=end) as answering:
        try:
            evidence = Evidence.from_fields(from_file(file))
        finally:
            os.close(file)
        judgement = await judge_again(services, evidence)
        answering.setblocking(False)
        with contextlib.suppress(OSError):  # nobody waits any more, or it cannot be told: that is a refusal
            answering.send(json.dumps([judgement.refused, judgement.votes]).encode("ascii"), socket.MSG_NOSIGNAL)
