"""What the keeper hears and says: from the parent, and from and to workers.  One datagram each.

    worker to keeper    u32 number | profile NUL reference                   a name, or an absolute path
    keeper to worker    u32 number | u8 verdict | name NUL u32 size | chain (size bytes) | key
    parent to keeper    u8 order   | ...                                     a file or a worker's end comes along

``number`` tells answers apart; in a note of CHANGED it is the generation of the policy's keys.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum, IntEnum

from ..policy.model import Identity, NamedKey

MAX_REQUEST_BYTES = 16 * 1024
MAX_ANSWER_BYTES = 200_000
_NUMBER = struct.Struct("<I")
_ANSWER = struct.Struct("<IB")


class Order(bytes, Enum):
    """The parent's messages, by their first byte."""

    LOAD = b"L"  # a file comes along: the keys; the answer is a JSON list of complaints
    COMMIT = b"C"  # u32 generation: what was loaded holds from now on; the answer is empty JSON list
    LINK = b"W"  # a worker's socket comes along; there is no answer


class Verdict(IntEnum):
    """What the keeper says to a worker."""

    GIVEN = 0
    UNKNOWN = 1
    FORBIDDEN = 2
    CHANGED = 3


class Garbled(Exception):
    """These bytes are none of the messages above."""


@dataclass(frozen=True)
class Question:
    """A worker asks for a key in the name of a profile."""

    number: int
    profile: str
    reference: str


@dataclass(frozen=True)
class Answer:
    """What it gets; ``name`` and ``identity`` with GIVEN, ``name`` with FORBIDDEN."""

    number: int
    verdict: Verdict
    name: str = ""
    identity: Identity | None = None


def encode_question(question: Question) -> bytes:
    """Return the bytes of a question."""
    return _NUMBER.pack(question.number) + f"{question.profile}\0{question.reference}".encode(
        "utf-8", "surrogateescape"
    )


def decode_question(data: bytes) -> Question:
    """Return the question in ``data``.  Raises Garbled."""
    if len(data) < _NUMBER.size:
        raise Garbled
    profile, nul, reference = data[_NUMBER.size :].decode("utf-8", "surrogateescape").partition("\0")
    if not nul or "\0" in reference:
        raise Garbled
    return Question(_NUMBER.unpack_from(data)[0], profile, reference)


def encode_answer(answer: Answer) -> bytes:
    """Return the bytes of an answer."""
    head = _ANSWER.pack(answer.number, answer.verdict) + answer.name.encode("utf-8", "surrogateescape") + b"\0"
    if answer.identity is None:
        return head
    return head + _NUMBER.pack(len(answer.identity.chain_pem)) + answer.identity.chain_pem + answer.identity.key_der


def decode_answer(data: bytes) -> Answer:
    """Return the answer in ``data``.  Raises Garbled."""
    try:
        number, code = _ANSWER.unpack_from(data)
        verdict = Verdict(code)
        end = data.index(b"\0", _ANSWER.size)
        name = data[_ANSWER.size : end].decode("utf-8", "surrogateescape")
        if verdict is not Verdict.GIVEN:
            return Answer(number, verdict, name)
        (size,) = _NUMBER.unpack_from(data, end + 1)
    except (struct.error, ValueError):
        raise Garbled from None
    chain, key = end + 1 + _NUMBER.size, end + 1 + _NUMBER.size + size
    if key > len(data):
        raise Garbled
    return Answer(number, verdict, name, Identity(data[chain:key], data[key:]))


def encode_keys(keys: Iterable[NamedKey]) -> bytes:
    """Return what goes with LOAD."""
    rows = [{**asdict(key), "profiles": sorted(key.profiles), "paths": sorted(key.paths)} for key in keys]
    return json.dumps(rows).encode("ascii")


def decode_keys(data: bytes) -> Mapping[str, NamedKey]:
    """Return what :func:`encode_keys` was given, by name."""
    rows = (
        {**row, "profiles": frozenset(row["profiles"]), "paths": frozenset(row["paths"])} for row in json.loads(data)
    )
    return {row["name"]: NamedKey(**row) for row in rows}


def encode_commit(generation: int) -> bytes:
    """Return the order to let what was loaded hold."""
    return Order.COMMIT.value + _NUMBER.pack(generation)


def decode_commit(data: bytes) -> int:
    """Return its generation."""
    generation: int = _NUMBER.unpack_from(data, 1)[0]
    return generation
