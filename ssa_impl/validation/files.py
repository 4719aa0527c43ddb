"""Which files the strategies of a validation read and write, for whoever confines the workers.  Pure."""

from __future__ import annotations

from pathlib import PurePath

from .model import Choice, Frozen, Validation
from .strategies.webpki import SYSTEM_STORES


def paths(validation: Validation) -> tuple[frozenset[str], frozenset[str]]:
    """Return the files that are read (unix sockets of engines among them), and the directories that are written to."""
    choices = [*validation.choices(), *([validation.for_applications] if validation.for_applications else [])]
    read = {path for choice in choices for path in _read(choice)}
    written = {str(PurePath(path).parent) for choice in choices for path in _texts(choice, "state_file")}
    return frozenset(read), frozenset(written)


def _read(choice: Choice) -> list[str]:
    named = [path for key in ("crl_files", "socket", "trust_store") for path in _texts(choice, key)]
    return named + list(SYSTEM_STORES if choice.strategy == "webpki" and not _texts(choice, "trust_store") else ())


def _texts(choice: Choice, key: str) -> list[str]:
    value: Frozen = dict(choice.parameters).get(key, "")
    found = value if isinstance(value, tuple) else (value,)
    return [text for text in found if isinstance(text, str) and text]
