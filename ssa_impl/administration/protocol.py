r"""JSON lines on the administration socket: one request, one answer, as often as the caller likes.  Pure.

    {"command": "sessions", "limit": 10}\n
    {"ok": true, "answer": {"sessions": [...], "total": 3}}\n
    {"command": "reload", "enforce": false}\n
    {"ok": false, "error": "the policy was not changed: 2 complaints", "complaints": ["...", "..."]}\n

Whatever is wrong with a request is said in an answer; only a line that is too long ends the connection, after one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .answers import Answer, Drained, Explanation, Metrics, Profiles, Reloaded, Sessions, Status
from .interface import SESSIONS_AT_MOST, Question, Refused
from .plain import NotPlain, from_plain, to_plain

MAX_REQUEST_BYTES = 16_384
MAX_ANSWER_BYTES = 128 << 20
"""100 000 sessions, the most that are listed, take about half of it"""


@dataclass(frozen=True)
class SessionsWanted:
    """Parameters of ``sessions``."""

    limit: int = SESSIONS_AT_MOST


@dataclass(frozen=True)
class ReloadWanted:
    """Parameters of ``reload``."""

    enforce: bool = False


@dataclass(frozen=True)
class NothingMore:
    """Parameters of the commands that have none."""


Parameters = NothingMore | SessionsWanted | ReloadWanted | Question

ANSWERS: dict[str, type[Answer]] = {
    "status": Status,
    "sessions": Sessions,
    "profiles": Profiles,
    "explain": Explanation,
    "reload": Reloaded,
    "drain": Drained,
    "metrics": Metrics,
}
_PARAMETERS: dict[str, type[Parameters]] = {
    "sessions": SessionsWanted,
    "explain": Question,
    "reload": ReloadWanted,
}


@dataclass(frozen=True)
class Command:
    """One request, checked."""

    name: str
    parameters: Parameters = NothingMore()


class MalformedLine(ValueError):
    """A line is no message of this protocol; the text says what is wrong."""


def encode_command(command: Command) -> bytes:
    """Return a request's line."""
    return _line({"command": command.name, **to_plain(command.parameters)})


def decode_command(line: bytes) -> Command:
    """Return what a line asks for.  Raises MalformedLine."""
    message = _object(line)
    name = message.pop("command", None)
    if not isinstance(name, str) or name not in ANSWERS:
        raise MalformedLine(f"no such command; there are {', '.join(ANSWERS)}")
    kind = _PARAMETERS.get(name, NothingMore)
    if unknown := sorted(set(message) - set(kind.__dataclass_fields__)):
        raise MalformedLine(f"{name} has no parameter {unknown[0][:80]!r}")
    try:
        parameters: Parameters = from_plain(kind, message)
    except NotPlain as error:
        raise MalformedLine(f"{name}: {error}") from None
    _check(parameters)
    return Command(name, parameters)


def _check(parameters: Parameters) -> None:
    match parameters:
        case SessionsWanted(limit) if not 0 < limit <= SESSIONS_AT_MOST:
            raise MalformedLine(f"sessions: limit is not between 1 and {SESSIONS_AT_MOST}")
        case Question(pid, executable) if pid < 0 or bool(pid) == bool(executable):
            raise MalformedLine("explain: name a pid or an executable, and not both")
        case Question(_, executable) if executable and (not executable.startswith("/") or "\0" in executable):
            raise MalformedLine("explain: the executable is not an absolute path")


def encode_answer(answer: Answer) -> bytes:
    """Return the line that answers."""
    return _line({"ok": True, "answer": to_plain(answer)})


def encode_refusal(refusal: Refused) -> bytes:
    """Return the line that refuses."""
    return _line({"ok": False, "error": refusal.text, "complaints": list(refusal.complaints)})


def decode_answer(name: str, line: bytes) -> Answer:
    """Return what a line answers to a command.  Raises Refused, MalformedLine."""
    message = _object(line)
    try:
        if message["ok"] is True:
            return from_plain(ANSWERS[name], message["answer"])
        text, complaints = message["error"], message["complaints"]
    except (KeyError, NotPlain) as error:
        raise MalformedLine(f"not an answer to {name}: {error}") from None
    if not isinstance(text, str) or not isinstance(complaints, list):
        raise MalformedLine(f"not a refusal of {name}")
    raise Refused(text, [str(complaint) for complaint in complaints])


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedLine("not a line of JSON") from None
    if not isinstance(message, dict):
        raise MalformedLine("not a JSON object")
    return message
