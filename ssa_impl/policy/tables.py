"""The tables of all documents put together: which value of which key is the strongest, and where it stands.

Documents come the weakest first.  For one key of one table the strongest document that has it decides; the rules of a
stronger document are tried before those of a weaker one, and in a document from top to bottom.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .complaints import Complaint, Wrong, nearest
from .files import Document
from .model import Origin
from .shapes import kind

_TABLES = ("defaults", "profile", "application", "key", "daemon")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Value:
    """What a file says for one key."""

    value: Any
    origin: Origin
    key: str
    """path of the key, for complaints"""
    document: Document | None = None
    path: tuple[str | int, ...] = ()

    def inside(self, key: str) -> Origin:
        """Return where a key below this one stands, by its path joined by dots."""
        return self.document.origin(*self.path, *key.split(".")) if self.document else self.origin


Table = Mapping[str, Value]


@dataclass
class Tables:
    """Every table, with the values that count."""

    defaults: dict[str, Value] = field(default_factory=dict)
    profiles: dict[str, dict[str, Value]] = field(default_factory=dict)
    keys: dict[str, dict[str, Value]] = field(default_factory=dict)
    daemon: dict[str, Value] = field(default_factory=dict)
    rules: list[tuple[Origin, Table]] = field(default_factory=list)
    """in the order in which they are tried"""
    places: dict[tuple[str, str], Origin] = field(default_factory=dict)
    """where a profile or a key is begun as a table, by table and name"""


class Complaints:
    """What was found so far."""

    def __init__(self) -> None:
        self.found: list[Complaint] = []

    def add(self, origin: Origin, key: str, text: str, suggestion: str = "") -> None:
        self.found.append(Complaint(origin.file, origin.line, key, text, suggestion))

    def read(self, value: Value, reader: Any) -> Any:
        """Return what a reader makes of a value, None after a complaint."""
        try:
            return reader(value.value)
        except Wrong as wrong:
            self.add(value.origin, value.key, wrong.text, wrong.suggestion)
            return None


def gather(documents: tuple[Document, ...], complaints: Complaints) -> Tables:
    """Put the documents (the weakest first) together; complain about tables that cannot be."""
    tables = Tables()
    for document in documents:
        for name in document.table.keys() - set(_TABLES):
            complaints.add(document.origin(name), name, "there is no such table", nearest(name, _TABLES))
        tables.defaults.update(_values(document, complaints, "defaults"))
        tables.daemon.update(_values(document, complaints, "daemon"))
        for part, target in (("profile", tables.profiles), ("key", tables.keys)):
            for name in _names(document, complaints, part):
                target.setdefault(name, {}).update(_values(document, complaints, part, name))
                if isinstance(document.table[part][name], dict):
                    tables.places[part, name] = document.origin(part, name)
        tables.rules[:0] = _rules(document, complaints)
    return tables


def _values(document: Document, complaints: Complaints, *path: str) -> Table:
    table: Any = document.table
    for part in path:
        table = table.get(part, {})
    if not isinstance(table, dict):
        complaints.add(document.origin(*path), ".".join(path), f"must be a table, not {kind(table)}")
        return {}
    return {key: _value(document, table[key], *path, key) for key in table}


def _value(document: Document, value: Any, *path: str | int) -> Value:
    key = ".".join(part for part in path if isinstance(part, str))
    return Value(value, document.origin(*path), key, document, path)


def _names(document: Document, complaints: Complaints, part: str) -> Iterator[str]:
    tables = document.table.get(part, {})
    if not isinstance(tables, dict):
        complaints.add(document.origin(part), part, f"must be tables with names, not {kind(tables)}", f"[{part}.NAME]")
        return
    for name in tables:
        if _NAME.fullmatch(name):
            yield name
        else:
            text = f'"{name}" cannot be a name'
            complaints.add(document.origin(part, name), part, text, "1 to 64 of the letters A-Z a-z 0-9 . _ -")


def _rules(document: Document, complaints: Complaints) -> list[tuple[Origin, Table]]:
    rules = document.table.get("application", [])
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        complaints.add(document.origin("application"), "application", "must be tables", "write [[application]]")
        return []
    made: list[tuple[Origin, Table]] = []
    for number, rule in enumerate(rules):
        values = {key: _value(document, rule[key], "application", number, key) for key in rule}
        made.append((document.origin("application", number), values))
    return made
