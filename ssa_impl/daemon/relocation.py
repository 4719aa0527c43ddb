"""What one worker tells another about a secure socket that is not connected: everything that was said to it.

A socket's state before connect and listen is the list of its options, so another worker makes the same socket by
hearing the same list.  It travels as a file without a name, since certificates and anchors can be large.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass

Option = tuple[int, int, bytes]
"""level, name, value"""


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
    fields = {**vars(transcript), "options": [(*option[:2], _text(option[2])) for option in transcript.options]}
    descriptor = os.memfd_create("ssa", os.MFD_CLOEXEC)
    os.write(descriptor, json.dumps(fields).encode("ascii"))
    return descriptor


def read(descriptor: int) -> Transcript:
    """Return what :func:`write` wrote."""
    fields = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
    options = tuple((level, name, base64.b64decode(value)) for level, name, value in fields.pop("options"))
    return Transcript(**fields, options=options)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
