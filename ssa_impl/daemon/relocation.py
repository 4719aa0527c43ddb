"""What one worker tells another about a secure socket that is not connected: everything that was said to it.

A socket's state before connect and listen is the list of its options, so another worker makes the same socket by
hearing the same list.  It travels as a file without a name, since certificates and anchors can be large.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..abi import IPPROTO_TLS, MAX_FILE_BYTES
from ..errors import DaemonError

Option = tuple[int, int, bytes]
"""level, name, value"""
_MOST_BYTES = MAX_FILE_BYTES
"""of all options of one socket: as much as the largest file that one can name"""
_EACH_BYTES = 64
"""what an option takes beside its value"""


class Options:
    """What one socket was told, in order: of the wire's options the last value each, and of all no more than there is
    room for, since a program can set options for ever.
    """

    def __init__(self) -> None:
        self._told: dict[object, Option] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[Option]:
        return iter(self._told.values())

    def __len__(self) -> int:
        return len(self._told)

    def require_room(self, option: Option) -> None:
        """Raise DaemonError(ENOBUFS) when this one would be too much."""
        if self._bytes + size_bytes(option) > _MOST_BYTES:
            raise DaemonError(f"the options of one socket may have {_MOST_BYTES} bytes together, and no more")

    def add(self, option: Option) -> None:
        """Note one that has been set."""
        level, name, _ = option
        key = object() if level == IPPROTO_TLS else (level, name)
        if (before := self._told.pop(key, None)) is not None:
            self._bytes -= size_bytes(before)
        self._told[key] = option
        self._bytes += size_bytes(option)


def size_bytes(option: Option) -> int:
    """Return how much one option takes."""
    return len(option[2]) + _EACH_BYTES


@dataclass(frozen=True)
class Transcript:
    """``uid`` owns the socket, ``pid`` opened it, ``inode`` is the application's descriptor's where it is known.

    ``path`` is where the application listens, for a listener; ``request`` is the number of the request that the last
    option came with, where that is still to be answered.  ``application`` is who opened it, where that is known: the
    other worker finds the profile by itself, under the policy that it has by then.
    """

    family: int
    pid: int
    watches: bool
    uid: int
    inode: int
    options: tuple[Option, ...]
    path: str = ""
    request: int = 0
    application: dict[str, object] | None = None


def write(transcript: Transcript) -> int:
    """Return the descriptor of a file that holds ``transcript``."""
    return to_file({**vars(transcript), "options": _rows(transcript.options)})


def read(descriptor: int) -> Transcript:
    """Return what :func:`write` wrote."""
    fields = from_file(descriptor)
    return Transcript(**{**fields, "options": _options(fields["options"])})


def write_contexts(contexts: Mapping[int, tuple[int, Sequence[Option]]]) -> int:
    """Return the descriptor of a file that holds what handles stand for: their owner, and options."""
    return to_file([[handle, uid, _rows(options)] for handle, (uid, options) in contexts.items()])


def read_contexts(descriptor: int) -> dict[int, tuple[int, tuple[Option, ...]]]:
    """Return what :func:`write_contexts` wrote."""
    return {handle: (uid, _options(rows)) for handle, uid, rows in from_file(descriptor)}


def to_file(content: object) -> int:
    """Return the descriptor of a file without a name that holds ``content`` as JSON."""
    descriptor = os.memfd_create("ssa", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(content).encode("ascii"))
    return descriptor


def from_file(descriptor: int) -> Any:
    """Return what :func:`to_file` wrote."""
    return json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))


def _rows(options: Iterable[Option]) -> list[tuple[int, int, str]]:
    return [(level, name, base64.b64encode(value).decode("ascii")) for level, name, value in options]


def _options(rows: Iterable[tuple[int, int, str]]) -> tuple[Option, ...]:
    return tuple((level, name, base64.b64decode(value)) for level, name, value in rows)
