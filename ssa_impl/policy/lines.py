"""On which line each key of a TOML document stands: ``tomllib`` does not say.

The document has been parsed by ``tomllib`` before, so it is known to be valid; only statements are looked for here, and
values are skipped.  Keys inside an inline table stand where the statement begins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)+")
_KEY_PART = re.compile(r"""[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)[ \t]*""")
_SKIPPED = re.compile(
    r'''"""(?:[^\\]|\\.)*?""""{0,2}'''  # multi-line strings may end with quotes of their own
    r"""|'''.*?''''{0,2}"""
    r"""|"(?:[^"\\]|\\.)*"|'[^']*'|#[^\n]*|[^\[\]{}"'#\n]+""",
    re.DOTALL,
)


def key_lines(text: str) -> Mapping[Path, int]:
    """Return the line (from 1) of every statement's key and of every table's header.

    The elements of an array of tables have their index in the path: ``("application", 0, "profile")``.
    """
    found: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    position, line, counted = 0, 1, 0
    while True:
        if blank := _BLANK.match(text, position):
            position = blank.end()
        if position >= len(text):
            return found
        line, counted = line + text.count("\n", counted, position), position
        if text[position] != "[":
            parts, position = _dotted(text, position)
            for end in range(1, len(parts) + 1):
                found.setdefault((*table, *parts[:end]), line)
            position = _after_value(text, position + 1)
            continue
        of_array = text.startswith("[[", position)
        parts, position = _dotted(text, position + 1 + of_array)
        position += 1 + of_array
        table = _in_arrays(parts[:-1], counts) + parts[-1:]
        if of_array:
            counts[table] = counts.get(table, -1) + 1
            table += (counts[table],)
        found.setdefault(table, line)


def _dotted(text: str, position: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while part := _KEY_PART.match(text, position):
        parts.append(_plain(part[1]))
        position = part.end()
        if not text.startswith(".", position):
            break
        position += 1
    return tuple(parts), position


def _plain(part: str) -> str:
    return str(tomllib.loads(f"key = {part}")["key"]) if part[0] in "\"'" else part


def _in_arrays(path: Path, counts: Mapping[Path, int]) -> Path:
    """Return ``path`` with the index of the last element after each array of tables."""
    made: Path = ()
    for part in path:
        made += (part,)
        if made in counts:
            made += (counts[made],)
    return made


def _after_value(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        if skipped := _SKIPPED.match(text, position):
            position = skipped.end()
            continue
        if text[position] == "\n" and not depth:
            return position
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(text[position], 0)
        position += 1
    return position
