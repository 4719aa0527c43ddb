"""What a run has shown, and how two runs are compared.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.conformance.behaviour import Behaviour, Column

_NOTHING = object()


@dataclass(frozen=True)
class Entry:
    """One thing seen; ``expected`` is what the specification fixes, when it does."""

    what: str
    value: Any
    expected: Any = _NOTHING

    @classmethod
    def read(cls, saw: list[Any]) -> Entry:
        """Read what a program has yielded."""
        assert len(saw) in {2, 3}, f"a program yields (what, value) or (what, value, expected), not {saw}"
        return cls(*saw)


Transcript = list[Entry]


def surprises(wanted: Behaviour, column: Column, transcript: Transcript) -> list[str]:
    """Return every entry that is not what was expected there, and every deviation that was not seen."""
    known = wanted.deviates(column.boundary)
    found = []
    for entry in transcript:
        deviation = known.get(entry.what)
        expected = entry.expected if deviation is None else deviation.value
        if expected is not _NOTHING and entry.value != expected:
            found.append(f"{entry.what}: {entry.value!r}, expected {expected!r}")
        if deviation is not None and deviation.value == entry.expected:
            found.append(f"{entry.what}: a deviation that is none")
    missing = known.keys() - {entry.what for entry in transcript}
    return found + [f"{what}: not seen at all" for what in sorted(missing)]


def disagreements(wanted: Behaviour, runs: dict[Column, Transcript]) -> list[str]:
    """Return what differs between columns: all with one version of TLS say the same; plain TCP agrees where it speaks.

    Entries with a known deviation in one of the two are left out: ``surprises`` holds them to their exact value.
    """
    found = []
    for first, second in _pairs(list(runs)):
        left, right = ({entry.what: entry.value for entry in runs[column]} for column in (first, second))
        known = wanted.deviates(first.boundary).keys() | wanted.deviates(second.boundary).keys()
        if first.version is not None and left.keys() != right.keys():
            found.append(f"{first} and {second} have other entries: {sorted(left.keys() ^ right.keys())}")
        found += [
            f"{what}: {first} {left[what]!r}, {second} {right[what]!r}"
            for what in left
            if what in right and what not in known and left[what] != right[what]
        ]
    return found


def _pairs(columns: list[Column]) -> list[tuple[Column, Column]]:
    return [
        (first, second)
        for index, first in enumerate(columns)
        for second in columns[index + 1 :]
        if first.version is None or first.version == second.version
    ]
