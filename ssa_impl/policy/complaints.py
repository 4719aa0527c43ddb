"""What is wrong with the administrator's files: all of it at once, each with its place and a suggestion."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Complaint:
    """One mistake; ``line`` is 0 where it is the file's as a whole.

    As text it is one line that does nothing to a terminal, whatever names the file has made up.
    """

    file: str
    line: int
    key: str
    """path of the key in the file, such as ``profile.web.version_min``, "" for none"""
    text: str
    suggestion: str = ""
    """what to do, as the end of the sentence"""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        said = ": ".join(filter(None, (place, self.key, self.text))) + (
            f"; {self.suggestion}" if self.suggestion else ""
        )
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in said)


class PolicyFileErrors(Exception):
    """The files make no policy.  ``complaints`` are in the order of files and lines, each said once."""

    def __init__(self, complaints: Iterable[Complaint]) -> None:
        self.complaints: Sequence[Complaint] = sorted(set(complaints))
        super().__init__("\n".join(map(str, self.complaints)))


class Wrong(Exception):
    """A value that cannot be, before anybody knows where it stands."""

    def __init__(self, text: str, suggestion: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.suggestion = suggestion


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``did you mean ...?``, or what there is when that is little, or ""."""
    names = sorted(known)
    if isinstance(word, str) and (close := difflib.get_close_matches(word, names, 1)):
        return f"did you mean {close[0]}?"
    return f"there is {', '.join(names)}" if 0 < len(names) <= 12 else ""
